//! gRPC statuses: what one says about the backend, and what it would be in HTTP.
//!
//! A gRPC answer is `200 OK` however it ended; the truth is `grpc-status`, in the trailers or, when the server failed before
//! its first message, in the head (trailers-only). Codes and their meaning: the gRPC project's `doc/statuscodes.md`.

use http::{HeaderValue, StatusCode};

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// 0
    Ok,
    /// 1: given up, typically by the caller.
    Cancelled,
    /// 2: an error without a better name, such as an exception that a handler let out.
    Unknown,
    /// 3: wrong whatever the state of the server is.
    InvalidArgument,
    /// 4: not done in time.
    DeadlineExceeded,
    /// 5
    NotFound,
    /// 6
    AlreadyExists,
    /// 7: known, and not allowed to.
    PermissionDenied,
    /// 8: a quota is used up.
    ResourceExhausted,
    /// 9: not in a state to do it.
    FailedPrecondition,
    /// 10: lost against another call.
    Aborted,
    /// 11
    OutOfRange,
    /// 12: the server does not have the method.
    Unimplemented,
    /// 13: something the server relies on is broken.
    Internal,
    /// 14: not able to serve now.
    Unavailable,
    /// 15: lost or corrupt for good.
    DataLoss,
    /// 16: not known who is asking.
    Unauthenticated,
}

impl Status {
    /// Every status, at the position of its number.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The status in a `grpc-status` field. What is no number, or none of these, is [`Status::Unknown`]: so clients read it.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        let number = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse::<usize>().ok());
        number.and_then(|number| Self::ALL.get(number).copied()).unwrap_or(Self::Unknown)
    }

    /// Its number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The status for an error of ours that would be `status` to an HTTP caller: the table of `doc/http-grpc-status-mapping.md`,
    /// which is what a gRPC client makes of a proxy's bare HTTP error. So it hears the same thing, whichever way it comes.
    #[must_use]
    pub fn from_http(status: StatusCode) -> Self {
        match status.as_u16() {
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }
}

/// Whether a status counts against the backend. Linkerd's classification (2, 4, 13, 14, 15), and 12 besides.
#[must_use]
pub fn is_backend_fault(status: Status) -> bool {
    match status {
        // What a crash of the model looks like: MLServer, Triton and every framework turn an exception into UNKNOWN or INTERNAL.
        Status::Unknown | Status::Internal => true,
        // Too slow for its caller. The deadline is the same for both variants, so a canary that misses it more often is worse.
        Status::DeadlineExceeded => true,
        // Not ours, or it would be an HTTP error: the backend itself says that it cannot serve.
        Status::Unavailable => true,
        // It lost what it was given to keep.
        Status::DataLoss => true,
        // Both variants are to serve the same methods: one that lacks a method is a wrong deployment. Linkerd balances over
        // equal servers and leaves it out; we compare two that may differ.
        Status::Unimplemented => true,
        // As is said for HTTP: the request was answered, and a 4xx is about the caller. RESOURCE_EXHAUSTED is its 429.
        Status::Ok
        | Status::Cancelled
        | Status::InvalidArgument
        | Status::NotFound
        | Status::AlreadyExists
        | Status::PermissionDenied
        | Status::ResourceExhausted
        | Status::FailedPrecondition
        | Status::Aborted
        | Status::OutOfRange
        | Status::Unauthenticated => false,
    }
}

/// The HTTP status that says the same, by which `fallback.when` of a route also covers trailers-only errors: the mapping in
/// the comments of `google/rpc/code.proto`.
#[must_use]
pub fn http_equivalent(status: Status) -> StatusCode {
    match status {
        Status::Ok => StatusCode::OK,
        // 499 has no name; it is a valid code all the same, so the second one is never taken.
        Status::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Status::InvalidArgument | Status::FailedPrecondition | Status::OutOfRange => StatusCode::BAD_REQUEST,
        Status::Unauthenticated => StatusCode::UNAUTHORIZED,
        Status::PermissionDenied => StatusCode::FORBIDDEN,
        Status::NotFound => StatusCode::NOT_FOUND,
        Status::AlreadyExists | Status::Aborted => StatusCode::CONFLICT,
        Status::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Status::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Status::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Status::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Status::Unknown | Status::Internal | Status::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Whether this is gRPC's content type: `application/grpc`, alone or with a message format (`+proto`) or parameters behind it.
/// `application/grpc-web` is another protocol, with its trailers in the body.
#[must_use]
pub fn is_grpc(content_type: &[u8]) -> bool {
    const NAME: &[u8] = b"application/grpc";
    content_type.split_at_checked(NAME.len()).is_some_and(|(name, rest)| {
        name.eq_ignore_ascii_case(NAME) && matches!(rest.trim_ascii_start(), [] | [b'+' | b';', ..])
    })
}

/// The value of a `grpc-message` field: printable ASCII but `%` as it is, every other byte of the UTF-8 as `%XX`.
#[must_use]
pub fn message(text: &str) -> HeaderValue {
    const HEX: [u8; 16] = *b"0123456789ABCDEF";
    let mut encoded = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(byte);
        } else {
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            encoded.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    // All of it is printable ASCII by now, so that it always is a header's value.
    HeaderValue::try_from(encoded).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_says_whose_fault_it_is_and_what_it_would_be_in_http() {
        let table: [(&str, bool, u16); 17] = [
            ("0", false, 200),
            ("1", false, 499),
            ("2", true, 500),
            ("3", false, 400),
            ("4", true, 504),
            ("5", false, 404),
            ("6", false, 409),
            ("7", false, 403),
            ("8", false, 429),
            ("9", false, 400),
            ("10", false, 409),
            ("11", false, 400),
            ("12", true, 501),
            ("13", true, 500),
            ("14", true, 503),
            ("15", true, 500),
            ("16", false, 401),
        ];
        for (position, (text, fault, http)) in table.into_iter().enumerate() {
            let status = Status::of(text.as_bytes());
            assert_eq!(usize::from(status.code()), position);
            assert_eq!(is_backend_fault(status), fault, "{status:?}");
            assert_eq!(http_equivalent(status).as_u16(), http, "{status:?}");
            // What counts against a backend in gRPC would count in HTTP, and the other way round.
            assert_eq!(http_equivalent(status).is_server_error(), fault, "{status:?}");
        }
    }

    #[test]
    fn what_is_no_known_number_is_unknown() {
        for text in ["", "17", "-1", "4294967296", "99999999999999999999999", "0x2", "OK", "1 2", "\u{fffd}"] {
            assert_eq!(Status::of(text.as_bytes()), Status::Unknown, "{text:?}");
        }
        assert_eq!(Status::of(b"\xff"), Status::Unknown);
        assert_eq!(Status::of(b" 14 "), Status::Unavailable);
        assert_eq!(Status::of(b"00"), Status::Ok);
    }

    #[test]
    fn our_own_errors_follow_the_mapping_that_clients_use() {
        for (http, code) in [
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (429, 14),
            (502, 14),
            (503, 14),
            (504, 14),
            (200, 2),
            (408, 2),
            (413, 2),
            (499, 2),
            (500, 2),
            (501, 2),
        ] {
            assert_eq!(Status::from_http(StatusCode::from_u16(http).unwrap()).code(), code, "{http}");
        }
    }

    #[test]
    fn grpc_is_known_by_its_content_type() {
        let yes = [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc; a=b",
            "Application/gRPC+json",
            "application/grpc ;q=1",
        ];
        for text in yes {
            assert!(is_grpc(text.as_bytes()), "{text}");
        }
        let no = [
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpcx",
            "application/json",
            "application/grp",
            "",
        ];
        for text in no {
            assert!(!is_grpc(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_message_is_always_a_header_value() {
        for (text, wanted) in [
            ("", ""),
            ("no route for /a?b=c", "no route for /a?b=c"),
            ("100% of it", "100%25 of it"),
            ("two\r\nlines\t\u{7f}", "two%0D%0Alines%09%7F"),
            ("größer ✓", "gr%C3%B6%C3%9Fer %E2%9C%93"),
        ] {
            assert_eq!(message(text), wanted, "{text:?}");
        }
    }
}
