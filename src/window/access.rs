//! [`Access`]: which requests are answered, by their Host, their Origin, their peer and their token.

use crate::window::problem::Problem;
use axum::{
    extract::ConnectInfo,
    http::{Extensions, HeaderMap, HeaderValue, header, request::Parts, uri::Authority},
};
use std::net::{IpAddr, SocketAddr};
use subtle::ConstantTimeEq as _;

/// Who may ask.
#[derive(Clone, Default)]
pub(crate) struct Access {
    pub(crate) token: Option<String>,
    /// Names in `Host` beside those of loopback, in small letters.
    pub(crate) hosts: Vec<String>,
}

impl Access {
    /// Whether a request is answered at all: before its path is looked at, so that a refusal says nothing of what there is.
    pub(crate) fn check(&self, request: &Parts) -> Result<(), Problem> {
        let host = host_of(request).ok_or_else(Problem::forbidden_host)?;
        if !self.is_own(host.host()) {
            return Err(Problem::forbidden_host());
        }
        check_origin(&request.headers, &host)?;
        if self.token.is_none() && !is_local(request) {
            return Err(Problem::forbidden_peer());
        }
        Ok(())
    }

    /// Whether the request has the token, if there is one. It takes the same time wherever the two differ.
    pub(crate) fn check_token(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        // An empty one is a setting that is missing, and opens nothing.
        let given = bearer(headers).filter(|_| !token.is_empty());
        let is_right =
            given.is_some_and(|given| bool::from(given.as_bytes().ct_eq(token.as_bytes())));
        is_right.then_some(()).ok_or_else(Problem::unauthorized)
    }

    /// Whether this is a name of the window. A page of another site that lets its own name point here (DNS rebinding) has none.
    fn is_own(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        match address.parse::<IpAddr>() {
            // A page cannot get hold of another server's address; without a token there is no reason to come by that way.
            Ok(address) => address.is_loopback() || self.token.is_some() || self.is_named(&host),
            Err(_) => host == "localhost" || self.is_named(&host),
        }
    }

    fn is_named(&self, host: &str) -> bool {
        self.hosts.iter().any(|own| own == host)
    }
}

/// Where the request was sent to.
fn host_of(request: &Parts) -> Option<Authority> {
    if let Some(authority) = request.uri.authority() {
        return Some(authority.clone());
    }
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let host = hosts.next()?;
    // Two of them may mean one thing to a proxy, and another one here.
    if hosts.next().is_some() {
        return None;
    }
    host.to_str().ok()?.parse().ok()
}

/// Whether the page that asks is this one, if it is a page.
fn check_origin(headers: &HeaderMap, host: &Authority) -> Result<(), Problem> {
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().ok();
        let own = origin.and_then(|origin| origin.split_once("://"));
        let is_own = own.is_some_and(|(scheme, other)| {
            matches!(scheme, "http" | "https") && other.eq_ignore_ascii_case(host.as_str())
        });
        if !is_own {
            return Err(Problem::forbidden_origin());
        }
    }
    // Without an Origin come requests of images and scripts, of which another page sees at least whether they succeed. It sees nothing
    // of what a link leads to.
    let says = |name, words: &[&str]| {
        let value = headers.get(name).map(HeaderValue::as_bytes);
        value.is_none_or(|value| words.iter().any(|word| word.as_bytes() == value))
    };
    let is_link = headers.contains_key("sec-fetch-mode") && says("sec-fetch-mode", &["navigate"]);
    if is_link || says("sec-fetch-site", &["same-origin", "none"]) {
        Ok(())
    } else {
        Err(Problem::forbidden_origin())
    }
}

/// Whether the other end is on this machine. Where that is not known it may be anywhere.
fn is_local(request: &Parts) -> bool {
    let peer = peer_of(&request.extensions);
    peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback())
}

/// The address of the other end, as this crate's server gives it, or another one.
pub(crate) fn peer_of(extensions: &Extensions) -> Option<SocketAddr> {
    let own = extensions.get::<ConnectInfo<Peer>>();
    let own = own.map(|ConnectInfo(Peer(peer))| *peer);
    own.or_else(|| {
        let other = extensions.get::<ConnectInfo<SocketAddr>>();
        // `tower::serve` has the bare address there. No client puts anything into extensions.
        let other = other.map(|ConnectInfo(peer)| *peer);
        other.or_else(|| extensions.get::<SocketAddr>().copied())
    })
}

/// The other end of a connection to this crate's server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What follows `Bearer` in the one header that has it.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let is_one = values.next().is_none() && scheme.eq_ignore_ascii_case("bearer");
    is_one.then(|| token.trim())
}
