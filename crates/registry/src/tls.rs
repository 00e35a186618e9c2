//! TLS below ureq: its own connector takes one configuration for all hosts and panics on a bad client certificate;
//! this one asks [`Tls`] for the host at hand, and its errors say what is wrong.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use crate::certificates::Tls;
use crate::url;

/// A handshake that failed for another reason than the connection.
#[derive(Debug)]
pub(crate) struct Fault(pub(crate) String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

/// Wraps a connection in TLS if the URL's scheme wants it.
#[derive(Debug)]
pub(crate) struct TlsConnector {
    pub(crate) tls: Arc<Tls>,
    /// Whether certificates are checked.
    pub(crate) checked: bool,
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let fault = |words: String| ureq::Error::Other(Box::new(Fault(words)));
        let authority = details.uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let host = url::host_of(authority);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| fault(format!("'{}' can have no certificate", host.escape_debug())))?;
        let config = self.tls.of(authority, self.checked).map_err(fault)?;
        let mut connection = ClientConnection::new(config, name).map_err(|error| fault(error.to_string()))?;
        let mut socket = TransportAdapter::new(transport.boxed(), details.current_time.clone());
        socket.set_timeout(details.timeout);
        connection.complete_io(&mut socket).map_err(|error| explain(error, authority))?;
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(TlsTransport { buffers, stream: StreamOwned::new(connection, socket) })))
    }
}

/// A failed handshake: TLS's own reasons as a [`Fault`], the connection's as they are.
fn explain(error: std::io::Error, authority: &str) -> ureq::Error {
    let Some(reason) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return error.into();
    };
    let words = match reason {
        rustls::Error::InvalidMessage(_) => format!("{authority} does not speak TLS"),
        rustls::Error::InvalidCertificate(why) => format!("its certificate is not to be trusted: {why}"),
        other => format!("TLS failed: {other}"),
    };
    ureq::Error::Other(Box::new(Fault(words)))
}

/// An encrypted connection.
pub(crate) struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        self.stream.write_all(output)?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let input = self.buffers.input_append_buf();
        let amount = self.stream.read(input)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").finish_non_exhaustive()
    }
}
