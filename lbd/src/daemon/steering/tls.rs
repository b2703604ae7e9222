//! TLS of the health check, as the client. It takes any certificate.
use std::{
    io,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Does the handshake on a connection to this address and takes any certificate: a health check asks
/// whether TLS works, not who answers.
pub(super) async fn handshake<S>(stream: S, address: IpAddr) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // An address is not named to the server (RFC 6066, section 3).
    let name = ServerName::from(address);
    any_certificate()?.connect(name, stream).await
}

fn any_certificate() -> io::Result<TlsConnector> {
    static CONNECTOR: OnceLock<Result<TlsConnector, rustls::Error>> = OnceLock::new();
    let connector = CONNECTOR.get_or_init(|| {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    });
    connector.clone().map_err(io::Error::other)
}

/// Takes every certificate, and every signature of a kind that is known.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A key and the certificate that it signed itself, for `mx.example` and 127.0.0.1. Of no use elsewhere.
    pub(in crate::daemon::steering) const PEM: &[u8] = include_bytes!("tls/test.pem");

    /// A server with [`PEM`].
    pub(in crate::daemon::steering) fn acceptor() -> TlsAcceptor {
        let key = PrivateKeyDer::from_pem_slice(PEM).unwrap();
        let certificate = CertificateDer::from_pem_slice(PEM).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
