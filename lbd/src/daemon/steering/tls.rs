//! TLS as the client: of the health check, which takes any certificate, and of figures by HTTPS, which takes
//! those that are signed.
use std::{
    fmt, io,
    net::IpAddr,
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
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

/// Certificates that sign those of servers. Equal when they were read from the same text.
#[derive(Clone)]
pub(super) struct Roots {
    pem: Arc<[u8]>,
    connector: TlsConnector,
}

impl Roots {
    /// Reads a file of certificates in PEM. Those that cannot be understood are passed over, as long as one
    /// can. `Err` says why there is none.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let pem = std::fs::read(file).map_err(|error| error.to_string())?;
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_slice_iter(&pem).flatten();
        let (taken, _) = roots.add_parsable_certificates(certificates);
        if taken == 0 {
            return Err("it has no certificate in PEM".to_owned());
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            pem: pem.into(),
            connector: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Does the handshake with `host`, a name or an address, which the server's certificate must have.
    pub(super) async fn handshake<S>(&self, stream: S, host: &str) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.connector.connect(name, stream).await
    }
}

impl PartialEq for Roots {
    fn eq(&self, other: &Self) -> bool {
        self.pem == other.pem
    }
}

impl Eq for Roots {}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({} bytes)", self.pem.len())
    }
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
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A key and the certificate that it signed itself, for `mx.example` and 127.0.0.1. Of no use elsewhere.
    pub(in crate::daemon::steering) const PEM: &[u8] = include_bytes!("tls/test.pem");

    /// A certificate that signs, and a key with a certificate that it has signed for localhost and 127.0.0.1.
    pub(in crate::daemon::steering) const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");
    pub(in crate::daemon::steering) const SIGNED: &[u8] = include_bytes!("tls/signed.pem");

    /// A server with [`PEM`].
    pub(in crate::daemon::steering) fn acceptor() -> TlsAcceptor {
        acceptor_with(PEM)
    }

    /// A server with the key and the certificate of this text.
    pub(in crate::daemon::steering) fn acceptor_with(pem: &[u8]) -> TlsAcceptor {
        let key = PrivateKeyDer::from_pem_slice(pem).unwrap();
        let certificate = CertificateDer::from_pem_slice(pem).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
