//! [`Problem`]: why a request gets no answer, as a status, a code and a sentence.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::{borrow::Cow, error::Error, fmt};

/// Why the window does not answer a question.
///
/// Over HTTP it is the body `{"schema": 1, "error": {"code": …, "message": …}}`, with this [status](Self::status). The codes are stable,
/// and [`docs::window`](crate::docs::window) lists them; the messages are for people.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let window = headcount::Registry::new().window();
/// let problem = window.json("/tree?colour=red").await.unwrap_err();
/// assert_eq!((problem.status(), problem.code()), (400, "unknown_parameter"));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    #[serde(skip)]
    status: u16,
    code: &'static str,
    message: Cow<'static, str>,
}

/// Defines constructors of problems: name, status, sentence. The name is the code.
macro_rules! problems {
    ($($name:ident $status:ident $message:literal)+) => { $(
        pub(crate) fn $name() -> Self {
            Self {
                status: StatusCode::$status.as_u16(),
                code: stringify!($name),
                message: Cow::Borrowed($message),
            }
        }
    )+ };
}

impl Problem {
    problems! {
        unknown_path NOT_FOUND "there is no such path: see docs::window for those there are"
        method_not_allowed METHOD_NOT_ALLOWED "this path is read with GET; only /close takes POST"
        bad_query BAD_REQUEST "the query is not `name=value&name=value` in percent-encoded UTF-8"
        missing_id BAD_REQUEST "the parameter `id` is missing: an id is a letter and a number, such as t12, t12.3 or t12.3@5f2c1a09"
        bad_id BAD_REQUEST "an id is a letter and a number, such as t12, t12.3 or t12.3@5f2c1a09"
        other_registry NOT_FOUND "this id is of another registry, or of an earlier run of this program"
        gone GONE "there is nothing with this id any more"
        not_a_context BAD_REQUEST "this id is not that of a context"
        no_handles BAD_REQUEST "what has this id has no handles: contexts, owned values and tracked Arcs have"
        unauthorized UNAUTHORIZED "this window wants its token: Authorization: Bearer <token>"
        forbidden_host FORBIDDEN "the Host of this request is none of this window's: see Window::host"
        forbidden_origin FORBIDDEN "the Origin of this request is another page's"
        forbidden_peer FORBIDDEN "without a token this window answers on loopback alone: set Window::token, or serve with the address of the peer (tower::serve has it; axum::serve with into_make_service_with_connect_info::<SocketAddr>())"
        closing_is_off FORBIDDEN "closing is off: see Window::allow_close"
        busy TOO_MANY_REQUESTS "another request of this kind is under way: try again when it is done"
        too_many_streams SERVICE_UNAVAILABLE "there are as many streams of events as this window allows"
        registry_gone SERVICE_UNAVAILABLE "the registry is gone"
    }

    pub(crate) fn unknown_parameter(name: &str, known: &[&str]) -> Self {
        let name = crate::name::Printed(name);
        Self {
            status: StatusCode::BAD_REQUEST.as_u16(),
            code: "unknown_parameter",
            message: match known {
                [] => format!("this path takes no parameter, and got {name}").into(),
                known => format!("{name} is none of the parameters {}", known.join(", ")).into(),
            },
        }
    }

    pub(crate) fn repeated_parameter(name: &str) -> Self {
        let name = crate::name::Printed(name);
        Self {
            status: StatusCode::BAD_REQUEST.as_u16(),
            code: "repeated_parameter",
            message: format!("the parameter {name} is given twice").into(),
        }
    }

    pub(crate) fn bad_parameter(name: &'static str, wanted: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST.as_u16(),
            code: "bad_parameter",
            message: format!("{name} is to be {wanted}").into(),
        }
    }

    /// The status of the response: from 400 to 599.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What is wrong, in a word for programs.
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Problem {}

/// The body of a response.
#[derive(Serialize)]
struct Body<'a> {
    schema: u32,
    error: &'a Problem,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = super::json::text(&Body {
            schema: super::json::SCHEMA,
            error: &self,
        });
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = super::json::response(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
