//! A Prometheus, or whoever speaks its HTTP API: one number for one query.
//!
//! Errors name the host and never the token. What is not exactly one finite number is told apart, for a person to mend.

use super::outbound::{Outbound, secret, value};
use crate::core::judge::Unknown;
use form_urlencoded::Serializer;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde_json::Value;
use std::path::PathBuf;

/// Largest answer that is read: one sample is some two hundred bytes, and a query without an aggregation may find any number of series.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// So much of the server's own words is passed on.
const WORDS_CHARS_MAX: usize = 200;

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct Prometheus {
    /// What comes before `/api/v1/query`.
    pub url: String,
    /// The bearer token; read anew each time, so that it may be changed.
    pub token_file: Option<PathBuf>,
    /// The way out.
    pub outbound: Outbound,
}

/// Why there is no number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoNumber {
    /// Its kind.
    pub kind: Unknown,
    /// In words, without a secret.
    pub why: String,
}

impl NoNumber {
    fn new(kind: Unknown, why: impl Into<String>) -> Self {
        Self { kind, why: why.into() }
    }
}

impl Prometheus {
    /// What the query gives now.
    ///
    /// # Errors
    /// [`NoNumber`], unless it is a scalar or a vector of one sample, and finite.
    pub async fn ask(&self, query: &str) -> Result<f64, NoNumber> {
        let (url, headers) = self.request(query).map_err(|why| NoNumber::new(Unknown::Refused, why))?;
        let answer = self.outbound.call(Method::GET, &url, headers, String::new()).await;
        let answer = answer.map_err(|why| NoNumber::new(Unknown::Away, why))?;
        number(answer.status, &answer.body).map_err(|why| {
            let host = url.host().unwrap_or("");
            NoNumber { why: format!("{host}: {}", why.why), ..why }
        })
    }

    fn request(&self, query: &str) -> Result<(Uri, HeaderMap), String> {
        let parameters = Serializer::new(String::new()).append_pair("query", query).finish();
        let url = format!("{}/api/v1/query?{parameters}", self.url.trim_end_matches('/'));
        let url = url.parse().map_err(|_| "its url cannot be asked".to_owned())?;
        let mut headers = HeaderMap::new();
        if let Some(file) = &self.token_file {
            let mut bearer = value(&format!("Bearer {}", secret(file)?))?;
            bearer.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, bearer);
        }
        Ok((url, headers))
    }
}

/// The one number of an answer.
fn number(status: StatusCode, body: &str) -> Result<f64, NoNumber> {
    let refused = |why: String| NoNumber::new(Unknown::Refused, why);
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |at: &str| answer.pointer(at).and_then(Value::as_str);
    if text("/status") != Some("success") {
        let words = text("/error").unwrap_or("").chars().take(WORDS_CHARS_MAX).collect::<String>();
        return Err(refused(format!("it answers {status} {words}").trim_end().to_owned()));
    }
    let (kind, result) = (text("/data/resultType").unwrap_or(""), answer.pointer("/data/result"));
    let sample = match (kind, result.and_then(Value::as_array).map(Vec::as_slice)) {
        ("scalar", Some([_, sample])) => Some(sample),
        ("vector", Some([])) => return Err(NoNumber::new(Unknown::NoSeries, "the query finds no series")),
        ("vector", Some([series])) => series.pointer("/value/1"),
        ("vector", Some(several)) => {
            return Err(NoNumber::new(Unknown::SeveralSeries, format!("the query finds {} series", several.len())));
        }
        _ => return Err(refused("the query gives neither one sample nor a scalar".into())),
    };
    let text =
        sample.and_then(Value::as_str).ok_or_else(|| refused("the query gives a sample that is no number".into()))?;
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        // `NaN`, `+Inf` and `-Inf` are read, too.
        Ok(_) => Err(NoNumber::new(Unknown::NotFinite, format!("the query gives {text}"))),
        Err(_) => Err(refused("the query gives a sample that is no number".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_finite_number_is_taken_and_all_else_is_told_apart() {
        let check = |body: &str, wanted: Result<f64, Unknown>| {
            assert_eq!(number(StatusCode::OK, body).map_err(|why| why.kind), wanted, "{body}");
        };
        let data = |kind: &str, result: &str| {
            format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#)
        };
        let sample = |text: &str| format!(r#"{{"metric":{{}},"value":[1.5,"{text}"]}}"#);
        check(&data("scalar", r#"[1.5,"0.25"]"#), Ok(0.25));
        check(&data("vector", &format!("[{}]", sample("-3e2"))), Ok(-300.0));
        check(&data("vector", "[]"), Err(Unknown::NoSeries));
        check(&data("vector", &format!("[{0},{0}]", sample("1"))), Err(Unknown::SeveralSeries));
        for text in ["NaN", "+Inf", "-Inf"] {
            check(&data("vector", &format!("[{}]", sample(text))), Err(Unknown::NotFinite));
        }
        check(&data("matrix", "[]"), Err(Unknown::Refused));
        check(&data("string", r#"[1.5,"7"]"#), Err(Unknown::Refused));
        check(&data("vector", r#"[{"metric":{},"histogram":[1.5,{}]}]"#), Err(Unknown::Refused));
        check("<html>", Err(Unknown::Refused));
        let error = r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
        let told = number(StatusCode::BAD_REQUEST, error).unwrap_err();
        assert_eq!(told.why, "it answers 400 Bad Request parse error");
    }

    #[test]
    fn a_query_is_asked_as_it_is_written_and_a_token_is_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file.as_file(), b"s3cret\n").unwrap();
        let server = Prometheus {
            url: "https://metrics.example/prefix/".into(),
            token_file: Some(file.path().into()),
            outbound: Outbound::new(None, std::time::Duration::from_secs(1)).unwrap(),
        };
        let (url, headers) = server.request("sum(rate(x{v=\"a b\"}[1m])) > 0").unwrap();
        let asked =
            "https://metrics.example/prefix/api/v1/query?query=sum%28rate%28x%7Bv%3D%22a+b%22%7D%5B1m%5D%29%29+%3E+0";
        assert_eq!(url.to_string(), asked);
        assert_eq!(headers[header::AUTHORIZATION].to_str().unwrap(), "Bearer s3cret");
        assert!(!format!("{headers:?} {server:?}").contains("s3cret"));
    }
}
