//! What a request is called in listings: its method and its route.

use crate::name::Name;
use http::{Method, Request};

/// A path is cut after so many bytes: it is the client's.
const LONGEST_PATH: usize = 80;

/// Method and route, or the path where no route is known.
pub(super) fn of<B>(request: &Request<B>) -> Name {
    let method = method(request.method());
    #[cfg(feature = "axum")]
    if let Some(route) = request.extensions().get::<axum::extract::MatchedPath>() {
        return format!("{method} {}", route.as_str()).into();
    }
    let path = request.uri().path();
    match cut(path) {
        path if path.len() < request.uri().path().len() => format!("{method} {path}…").into(),
        path => format!("{method} {path}").into(),
    }
}

/// The methods of the standard; clients may send any word.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "OTHER",
    }
}

fn cut(path: &str) -> &str {
    let mut end = path.len().min(LONGEST_PATH);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    &path[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(method: &str, path: &str) -> Name {
        of(&Request::builder()
            .method(method)
            .uri(path)
            .body(())
            .unwrap())
    }

    #[test]
    fn a_request_is_called_by_its_method_and_path() {
        assert_eq!(name("GET", "/users/7?page=2"), "GET /users/7");
        assert_eq!(name("POST", "http://example.org/"), "POST /");
    }

    #[test]
    fn what_the_client_makes_up_is_bounded() {
        let long = format!("/{}", "ä".repeat(LONGEST_PATH));
        let name_of_long = name("BREW", &long);
        assert_eq!(name_of_long, format!("OTHER /{}…", "ä".repeat(39)));
    }
}
