//! Three processes, a real Prometheus that scrapes them, and what that knows before, under and after load. Nothing here depends on how
//! fast the machine is: a test waits for what Prometheus says.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "tests unwrap")]

use http_body_util::{BodyExt as _, Empty};
use hyper::{Method, Request, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// After so long something is stuck, and the test has failed.
const STUCK: Duration = Duration::from_secs(120);

async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(STUCK, future).await.expect("it is stuck")
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[derive(Clone)]
struct Http(Client<HttpConnector, Empty<Bytes>>);

impl Http {
    fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    /// The status and the body; `None` if there is no answer.
    async fn ask(&self, method: Method, address: &str, path: &str) -> Option<(u16, String)> {
        let request = Request::builder().method(method);
        let request = request.uri(format!("http://{address}{path}"));
        let request = request.body(Empty::new()).unwrap();
        let response = in_time(self.0.request(request)).await.ok()?;
        let status = response.status().as_u16();
        let body = in_time(response.into_body().collect()).await.ok()?;
        Some((status, String::from_utf8(body.to_bytes().to_vec()).unwrap()))
    }
}

/// A process of the fleet.
struct Process {
    child: Child,
    address: String,
    http: Http,
}

impl Process {
    async fn start(http: &Http) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet"));
        command.env("FLEET_ADDRESS", "127.0.0.1:0");
        command.env("FLEET_FAULTS", "1").env("RUST_BACKTRACE", "0");
        let mut child = command
            .kill_on_drop(true)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = in_time(lines.next_line()).await.unwrap().unwrap();
        let address = line.strip_prefix("listening on ").unwrap().to_owned();
        let http = http.clone();
        Self {
            child,
            address,
            http,
        }
    }

    async fn send(&self, method: Method, path: &str) -> u16 {
        let answer = self.http.ask(method, &self.address, path).await;
        answer.expect("the process answers").0
    }

    /// Begins a job of an hour.
    fn begin_job(&self) -> JoinHandle<()> {
        let address = format!("http://{}/jobs/3600000", self.address);
        let request = Request::post(address).body(Empty::new()).unwrap();
        let answer = self.http.0.request(request);
        tokio::spawn(async move { drop(answer.await) })
    }

    /// Stops it by a signal. Returns its exit code.
    async fn stop(&mut self) -> Option<i32> {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill")
            .args(["-s", "TERM", &pid])
            .status()
            .await;
        assert!(sent.unwrap().success());
        in_time(self.child.wait()).await.unwrap().code()
    }
}

struct Prometheus {
    _child: Child,
    address: String,
    http: Http,
}

impl Prometheus {
    /// Starts one that scrapes these, with the settings and the rules of the example, but more often.
    async fn start(http: &Http, fleet: &[Process]) -> Self {
        let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fleet");
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(&home).unwrap();
        let mut settings = fs::read_to_string(folder().join("prometheus.yml")).unwrap();
        for (process, port) in fleet.iter().zip([9101, 9102, 9103]) {
            let example = format!("127.0.0.1:{port}");
            assert!(settings.contains(&example));
            settings = settings.replace(&example, &process.address);
        }
        let settings = settings.replace("interval: 5s", "interval: 1s");
        fs::write(home.join("prometheus.yml"), settings).unwrap();
        fs::copy(folder().join("rules.yml"), home.join("rules.yml")).unwrap();
        // Another process may take the port meanwhile: then it ends, and there is another try.
        for _ in 0..10 {
            let address = free_address().await;
            let mut command = Command::new("prometheus");
            command.arg(format!("--web.listen-address={address}"));
            command.arg(format!(
                "--config.file={}",
                home.join("prometheus.yml").display()
            ));
            command.arg(format!(
                "--storage.tsdb.path={}",
                home.join("data").display()
            ));
            command.arg("--log.level=error").kill_on_drop(true);
            let started = command.spawn();
            let mut child = started.expect("prometheus is there: apt-get install prometheus");
            if is_ready(http, &address, &mut child).await {
                let http = http.clone();
                return Self {
                    _child: child,
                    address,
                    http,
                };
            }
        }
        panic!("prometheus does not start");
    }

    async fn api(&self, path: &str) -> Value {
        let answer = self.http.ask(Method::GET, &self.address, path).await;
        let (_, body) = answer.expect("prometheus answers");
        let value: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(value["status"], "success", "{path}: {value}");
        value["data"].clone()
    }

    /// The one value of a query, if there is one now.
    async fn value(&self, query: &str) -> Option<f64> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", query)
            .finish();
        let data = self.api(&format!("/api/v1/query?{query}")).await;
        let series = data["result"].as_array().unwrap();
        assert!(series.len() < 2, "{data}");
        let value = series.first()?["value"][1].as_str().unwrap();
        Some(value.parse().unwrap())
    }

    /// Waits until a query has this value.
    async fn until(&self, query: &str, wanted: f64) {
        self.until_it(query, |value| (value - wanted).abs() < 1e-9)
            .await;
    }

    async fn until_it(&self, query: &str, is_so: impl Fn(f64) -> bool) {
        let mut last = None;
        let waited = timeout(STUCK, async {
            loop {
                last = self.value(query).await;
                if last.is_some_and(&is_so) {
                    return;
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
        assert!(waited.await.is_ok(), "{query}: {last:?}");
    }
}

async fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

async fn is_ready(http: &Http, address: &str, child: &mut Child) -> bool {
    let ready = async {
        while child.try_wait().unwrap().is_none() {
            let answer = http.ask(Method::GET, address, "/-/ready").await;
            if answer.is_some_and(|(status, _)| status == 200) {
                return true;
            }
            sleep(Duration::from_millis(50)).await;
        }
        false
    };
    in_time(ready).await
}

#[tokio::test]
async fn prometheus_has_the_right_numbers_before_under_and_after_load() {
    let http = Http::new();
    let mut fleet = Vec::new();
    for _ in 0..3 {
        fleet.push(Process::start(&http).await);
    }
    let prometheus = Prometheus::start(&http, &fleet).await;

    // Before: all is there, and zero.
    prometheus.until("sum(up)", 3.0).await;
    prometheus.until("count(headcount_leaks)", 3.0).await;
    for query in [
        "sum(headcount_leaks)",
        "sum(headcount_tasks_refused_total)",
        "sum(headcount_tasks_restarted_total)",
        "sum(headcount_contexts_closed_total{reason=\"left\"})",
        "sum(headcount_close_seconds_bucket{le=\"+Inf\"})",
        "sum(headcount_closes_unclean_total)",
    ] {
        prometheus.until(query, 0.0).await;
    }

    // Under load: ten, eleven and twelve sessions, more jobs than there is room for, a feed that fails, a context that is held.
    for (number, process) in fleet.iter().enumerate() {
        for key in 0..10 + number {
            assert_eq!(
                process.send(Method::PUT, &format!("/sessions/{key}")).await,
                204
            );
        }
    }
    let open = "headcount_entries{kind=\"session\",state=\"open\"}";
    prometheus.until(&format!("sum({open})"), 33.0).await;
    prometheus.until(&format!("max({open})"), 12.0).await;

    let jobs: Vec<_> = (0..2).map(|_| fleet[0].begin_job()).collect();
    prometheus
        .until(
            "sum(headcount_entries{kind=\"job\",state=\"running\"})",
            2.0,
        )
        .await;
    assert_eq!(fleet[0].send(Method::POST, "/jobs/0").await, 503);
    assert_eq!(fleet[1].send(Method::POST, "/faults/feed").await, 204);
    assert_eq!(fleet[2].send(Method::POST, "/faults/hold").await, 204);
    prometheus
        .until("sum(headcount_tasks_refused_total{reason=\"full\"})", 1.0)
        .await;
    prometheus
        .until("sum(headcount_tasks_restarted_total)", 1.0)
        .await;
    prometheus
        .until("sum(headcount_entries{state=\"closed\"})", 1.0)
        .await;
    prometheus.until("sum(headcount_leaks)", 1.0).await;
    prometheus
        .until("count(ALERTS{alertname=~\"HeldAfterClose|Leaks\"})", 2.0)
        .await;
    let firing = "count(ALERTS{alertname=\"Refusals\",alertstate=\"firing\"})";
    prometheus.until(firing, 1.0).await;

    // After: the sessions have ended, and how long that took is known.
    for (number, process) in fleet.iter().enumerate() {
        for key in 0..10 + number {
            assert_eq!(
                process
                    .send(Method::DELETE, &format!("/sessions/{key}"))
                    .await,
                204
            );
        }
    }
    prometheus
        .until(
            "sum(headcount_contexts_closed_total{reason=\"left\"})",
            33.0,
        )
        .await;
    prometheus
        .until(&format!("sum({open}) or vector(0)"), 0.0)
        .await;
    let p99 = "job:headcount_close_seconds:p99";
    prometheus
        .until_it(p99, |it| (0.0..=60.0).contains(&it))
        .await;
    let closes =
        "sum(headcount_close_seconds_bucket{le=\"+Inf\"}) - sum(headcount_contexts_closed_total)";
    prometheus.until(closes, 0.0).await;

    for group in prometheus.api("/api/v1/rules").await["groups"]
        .as_array()
        .unwrap()
    {
        for rule in group["rules"].as_array().unwrap() {
            assert_eq!(rule["health"], "ok", "{rule}");
        }
    }
    for process in &mut fleet {
        assert_eq!(process.stop().await, Some(0));
    }
    for job in jobs {
        in_time(job).await.unwrap();
    }
    prometheus.until("sum(up)", 0.0).await;
}

/// `promtool` is in Debian's package of Prometheus.
#[tokio::test]
async fn the_rules_are_valid_and_fire_when_they_should() {
    for arguments in [
        &["check", "config", "prometheus.yml"][..],
        &["check", "rules", "rules.yml"],
        &["test", "rules", "rules_test.yml"],
    ] {
        let mut command = Command::new("promtool");
        let output = command.args(arguments).current_dir(folder()).output();
        let output = in_time(output)
            .await
            .expect("promtool is there: apt-get install prometheus");
        let said =
            String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
}
