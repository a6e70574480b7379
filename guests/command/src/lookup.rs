//! `wasi:sockets/ip-name-lookup`.

use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{ErrorCode, IpAddress};

fn addresses(name: &str) -> Result<Vec<IpAddress>, ErrorCode> {
    let stream = resolve_addresses(&instance_network(), name)?;
    let ready = stream.subscribe();
    let mut all = Vec::new();
    loop {
        match stream.resolve_next_address() {
            Ok(Some(address)) => all.push(address),
            Ok(None) => break,
            Err(ErrorCode::WouldBlock) => ready.block(),
            Err(code) => return Err(code),
        }
    }
    assert!(ready.ready() && stream.resolve_next_address().unwrap().is_none());
    Ok(all)
}

fn is_local(address: &IpAddress) -> bool {
    matches!(address, IpAddress::Ipv4((127, ..)) | IpAddress::Ipv6((0, 0, 0, 0, 0, 0, 0, 1)))
}

pub(crate) fn all() {
    literals();
    let found = addresses("localhost").unwrap();
    assert!(!found.is_empty() && found.iter().all(is_local), "{found:?}");
    assert_eq!(addresses("LOCALHOST").unwrap().len(), found.len());
    assert_eq!(addresses("no-such-name.invalid").unwrap_err(), ErrorCode::NameUnresolvable);
    // Looking again and again gets there as well.
    let stream = resolve_addresses(&instance_network(), "localhost").unwrap();
    let ready = stream.subscribe();
    while !ready.ready() {
        std::thread::yield_now();
    }
    assert!(stream.resolve_next_address().unwrap().is_some());
    drop(resolve_addresses(&instance_network(), "localhost"));
}

pub(crate) fn denied() {
    literals();
    assert_eq!(addresses("localhost").unwrap_err(), ErrorCode::AccessDenied);
}

fn literals() {
    assert!(matches!(addresses("127.0.0.1").unwrap()[..], [IpAddress::Ipv4((127, 0, 0, 1))]));
    assert!(matches!(addresses("::1").unwrap()[..], [IpAddress::Ipv6((0, 0, 0, 0, 0, 0, 0, 1))]));
    assert!(matches!(addresses("::ffff:10.0.0.1").unwrap()[..], [IpAddress::Ipv4((10, 0, 0, 1))]));
    for wrong in ["", " ", "a b", "a.b<&>", "256.256.256.256", "host:80", "1.2.3", "[::"] {
        assert_eq!(addresses(wrong).unwrap_err(), ErrorCode::InvalidArgument, "{wrong:?}");
    }
}
