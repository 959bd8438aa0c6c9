//! Support for the tests: requests for certificates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

use crate::csr::{GROUP, SIGNER, USAGES, user_of};

/// The object identifier of a common name, as in DER.
pub(super) const CN: &[u8] = &[0x55, 4, 3];

/// That of an organization.
pub(super) const O: &[u8] = &[0x55, 4, 10];

/// An attribute of a subject: object identifier, tag and content of the value.
pub(super) type Attribute = (&'static [u8], u8, Vec<u8>);

/// A request for a node as its kubelet makes it.
pub(super) fn request(name: &str, node: &str) -> CertificateSigningRequest {
    let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    let names = [(DnType::CommonName, user_of(node).into()), (DnType::OrganizationName, GROUP.into())];
    CertificateSigningRequest {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
        spec: CertificateSigningRequestSpec {
            expiration_seconds: Some(600),
            groups: texts(&["system:nodes", "system:authenticated"]),
            request: ByteString(pem(&names).into_bytes()),
            signer_name: SIGNER.to_owned(),
            usages: texts(&USAGES),
            username: Some(format!("system:node:{node}")),
            ..Default::default()
        },
        status: None,
    }
}

/// A condition of this type.
pub(super) fn condition(type_: &str) -> CertificateSigningRequestCondition {
    CertificateSigningRequestCondition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        ..Default::default()
    }
}

/// The PEM of a request with these names, each at most once.
pub(super) fn pem(names: &[(DnType, DnValue)]) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    names.iter().for_each(|(kind, value)| params.distinguished_name.push(kind.clone(), value.clone()));
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

/// `spec.request` with these common names and organizations, also several.
pub(super) fn with_subject(common_names: &[&str], organizations: &[&str]) -> ByteString {
    let names = common_names.iter().map(|text| (CN, *text));
    let all = names.chain(organizations.iter().map(|text| (O, *text)));
    let sets: Vec<_> = all.map(|(oid, text)| vec![(oid, UTF8, text.as_bytes().to_vec())]).collect();
    ByteString(with_sets(&sets))
}

/// The tag of a `UTF8String`.
pub(super) const UTF8: u8 = 12;

/// The PEM of a request with this subject, without a key and a signature.
pub(super) fn with_sets(sets: &[Vec<Attribute>]) -> Vec<u8> {
    let attribute = |(oid, tag, value): &Attribute| {
        der(SEQUENCE, &[der(6, &[oid.to_vec()]), der(*tag, std::slice::from_ref(value))])
    };
    let set = |set: &Vec<Attribute>| der(0x31, &set.iter().map(attribute).collect::<Vec<_>>());
    let subject = der(SEQUENCE, &sets.iter().map(set).collect::<Vec<_>>());
    let algorithm = der(SEQUENCE, &[der(6, &[vec![0x2b, 0x65, 0x70]])]);
    let no_bits = der(3, &[vec![0]]);
    let key = der(SEQUENCE, &[algorithm.clone(), no_bits.clone()]);
    let info = der(SEQUENCE, &[der(2, &[vec![0]]), subject, key, der(0xa0, &[])]);
    let text = STANDARD.encode(der(SEQUENCE, &[info, algorithm, no_bits]));
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let text = lines.join("\n");
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n").into_bytes()
}

const SEQUENCE: u8 = 0x30;

/// A value of DER: tag, length, content.
fn der(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head = match content.len() {
        0..128 => vec![tag, length[1]],
        128..256 => vec![tag, 0x81, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    [head, content].concat()
}
