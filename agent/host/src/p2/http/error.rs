//! What can go wrong with HTTP, as guests are told it.

use std::fmt;

use crate::p2::abi::{wit_record, wit_variant};
use crate::p2::call::{Cx, Fail, Stop};
use crate::p2::handles::Borrow;
use crate::p2::io::IoError;

wit_variant! {
    /// What went wrong with a request or an answer: `error-code` of `wasi:http/types`.
    #[allow(missing_docs, reason = "the names are the document's, and say all that it says")]
    pub enum ErrorCode {
        DnsTimeout = "DNS-timeout",
        DnsError(payload: DnsError) = "DNS-error",
        DestinationNotFound = "destination-not-found",
        DestinationUnavailable = "destination-unavailable",
        DestinationIpProhibited = "destination-IP-prohibited",
        DestinationIpUnroutable = "destination-IP-unroutable",
        ConnectionRefused = "connection-refused",
        ConnectionTerminated = "connection-terminated",
        ConnectionTimeout = "connection-timeout",
        ConnectionReadTimeout = "connection-read-timeout",
        ConnectionWriteTimeout = "connection-write-timeout",
        ConnectionLimitReached = "connection-limit-reached",
        TlsProtocolError = "TLS-protocol-error",
        TlsCertificateError = "TLS-certificate-error",
        TlsAlertReceived(payload: TlsAlert) = "TLS-alert-received",
        HttpRequestDenied = "HTTP-request-denied",
        HttpRequestLengthRequired = "HTTP-request-length-required",
        HttpRequestBodySize(payload: Option<u64>) = "HTTP-request-body-size",
        HttpRequestMethodInvalid = "HTTP-request-method-invalid",
        HttpRequestUriInvalid = "HTTP-request-URI-invalid",
        HttpRequestUriTooLong = "HTTP-request-URI-too-long",
        HttpRequestHeaderSectionSize(payload: Option<u32>) = "HTTP-request-header-section-size",
        HttpRequestHeaderSize(payload: Option<FieldSize>) = "HTTP-request-header-size",
        HttpRequestTrailerSectionSize(payload: Option<u32>) = "HTTP-request-trailer-section-size",
        HttpRequestTrailerSize(payload: FieldSize) = "HTTP-request-trailer-size",
        HttpResponseIncomplete = "HTTP-response-incomplete",
        HttpResponseHeaderSectionSize(payload: Option<u32>) = "HTTP-response-header-section-size",
        HttpResponseHeaderSize(payload: FieldSize) = "HTTP-response-header-size",
        HttpResponseBodySize(payload: Option<u64>) = "HTTP-response-body-size",
        HttpResponseTrailerSectionSize(payload: Option<u32>) = "HTTP-response-trailer-section-size",
        HttpResponseTrailerSize(payload: FieldSize) = "HTTP-response-trailer-size",
        HttpResponseTransferCoding(payload: Option<String>) = "HTTP-response-transfer-coding",
        HttpResponseContentCoding(payload: Option<String>) = "HTTP-response-content-coding",
        HttpResponseTimeout = "HTTP-response-timeout",
        HttpUpgradeFailed = "HTTP-upgrade-failed",
        HttpProtocolError = "HTTP-protocol-error",
        LoopDetected = "loop-detected",
        ConfigurationError = "configuration-error",
        InternalError(payload: Option<String>) = "internal-error",
    }
}

wit_record! {
    /// What a resolver said.
    #[derive(PartialEq, Eq)]
    pub struct DnsError {
        rcode: Option<String> = "rcode",
        info_code: Option<u16> = "info-code",
    }
}
wit_record!(lift DnsError { rcode, info_code });
wit_record!(lower DnsError { rcode, info_code });

wit_record! {
    /// The alert that a TLS server sent.
    #[derive(PartialEq, Eq)]
    pub struct TlsAlert {
        alert_id: Option<u8> = "alert-id",
        alert_message: Option<String> = "alert-message",
    }
}
wit_record!(lift TlsAlert { alert_id, alert_message });
wit_record!(lower TlsAlert { alert_id, alert_message });

wit_record! {
    /// A header field that is too long.
    #[derive(PartialEq, Eq)]
    pub struct FieldSize {
        field_name: Option<String> = "field-name",
        field_size: Option<u32> = "field-size",
    }
}
wit_record!(lift FieldSize { field_name, field_size });
wit_record!(lower FieldSize { field_name, field_size });

impl DnsError {
    /// Of a resolver that says so.
    pub fn new(rcode: String) -> Self {
        Self { rcode: Some(rcode), info_code: None }
    }
}

impl TlsAlert {
    /// The alert of this number.
    pub fn new(id: u8, message: String) -> Self {
        Self { alert_id: Some(id), alert_message: Some(message) }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if let Self::InternalError(Some(why)) = self { write!(f, ": {why}") } else { Ok(()) }
    }
}

impl std::error::Error for ErrorCode {}

impl From<ErrorCode> for Fail<ErrorCode> {
    fn from(code: ErrorCode) -> Self {
        Self::Error(code)
    }
}

pub(in crate::p2) fn http_error_code(cx: &mut Cx<'_>, error: Borrow<IoError>) -> Result<Option<ErrorCode>, Stop> {
    Ok(cx.state.p2.handles.get(&error)?.http.clone())
}
