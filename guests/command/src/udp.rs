//! `wasi:sockets/udp`.

use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Network};
use wasip2::sockets::udp::{OutgoingDatagram, UdpSocket};
use wasip2::sockets::udp_create_socket::create_udp_socket;

use crate::tcp::{local, parts, v4, v6};

fn bound(network: &Network, port: u16) -> UdpSocket {
    let socket = create_udp_socket(IpAddressFamily::Ipv4).unwrap();
    socket.start_bind(network, local(port)).unwrap();
    socket.finish_bind().unwrap();
    socket
}

fn to(data: &[u8], remote_address: Option<IpSocketAddress>) -> OutgoingDatagram {
    OutgoingDatagram { data: data.to_vec(), remote_address }
}

/// The guest's port 7878 is published at this one.
pub(crate) fn all(port: u16) {
    let network = instance_network();
    states(&network);
    let (server, client) = (bound(&network, 7878), bound(&network, 0));
    let (server_in, server_out) = server.stream(None).unwrap();
    let (client_in, client_out) = client.stream(None).unwrap();
    assert_eq!(server_in.receive(10).unwrap().len(), 0);
    assert!(!server_in.subscribe().ready());
    client_out.subscribe().block();
    assert!(client_out.check_send().unwrap() >= 2);
    let there = Some(local(port));
    assert_eq!(client_out.send(&[to(b"one", there), to(b"", there)]), Ok(2));
    server_in.subscribe().block();
    assert_eq!(server_in.receive(0).unwrap().len(), 0);
    let first = server_in.receive(1).unwrap();
    assert_eq!((first.len(), first[0].data.as_slice()), (1, &b"one"[..]));
    server_in.subscribe().block();
    assert_eq!(server_in.receive(10).unwrap()[0].data, b"");

    // Whoever sent may be answered, though no grant names it.
    assert!(server_out.check_send().unwrap() > 0);
    assert_eq!(server_out.send(&[to(b"two", Some(first[0].remote_address))]), Ok(1));
    client_in.subscribe().block();
    let answer = client_in.receive(10).unwrap();
    assert_eq!((answer[0].data.as_slice(), parts(answer[0].remote_address)), (&b"two"[..], ((127, 0, 0, 1), port)));

    client_out.check_send().unwrap();
    assert_eq!(client_out.send(&[]), Ok(0));
    for (datagram, code) in [
        (to(b"x", None), ErrorCode::InvalidArgument),
        (to(b"x", Some(local(0))), ErrorCode::InvalidArgument),
        (to(b"x", Some(v4((0, 0, 0, 0), port))), ErrorCode::InvalidArgument),
        (to(b"x", Some(v6((0, 0, 0, 0, 0, 0, 0, 1), port))), ErrorCode::InvalidArgument),
        (to(b"x", Some(v4((192, 0, 2, 1), 9))), ErrorCode::AccessDenied),
        (to(&[0; 65_536], there), ErrorCode::DatagramTooLarge),
        (to(&[0; 65_520], there), ErrorCode::DatagramTooLarge),
    ] {
        client_out.check_send().unwrap();
        assert_eq!(client_out.send(&[datagram]), Err(code));
    }
    client_out.check_send().unwrap();
    assert_eq!(client_out.send(&[to(b"sent", there), to(b"not", None)]), Ok(1));
    drop((client_in, client_out));

    // To one address only.
    assert_eq!(client.stream(Some(local(0))).unwrap_err(), ErrorCode::InvalidArgument);
    assert_eq!(client.stream(Some(v4((0, 0, 0, 0), 1))).unwrap_err(), ErrorCode::InvalidArgument);
    let (client_in, client_out) = client.stream(there).unwrap();
    assert_eq!(parts(client.remote_address().unwrap()), ((127, 0, 0, 1), port));
    client_out.check_send().unwrap();
    assert_eq!(client_out.send(&[to(b"three", None), to(b"four", there)]), Ok(2));
    client_out.check_send().unwrap();
    assert_eq!(client_out.send(&[to(b"x", Some(local(1)))]), Err(ErrorCode::InvalidArgument));
    drop((client_in, client_out));
    let (_streams, _) = client.stream(None).unwrap();
    assert_eq!(client.remote_address().unwrap_err(), ErrorCode::InvalidState);
}

fn states(network: &Network) {
    let fresh = create_udp_socket(IpAddressFamily::Ipv4).unwrap();
    assert_eq!(fresh.address_family(), IpAddressFamily::Ipv4);
    assert_eq!(fresh.finish_bind(), Err(ErrorCode::NotInProgress));
    assert_eq!(fresh.local_address().unwrap_err(), ErrorCode::InvalidState);
    assert_eq!(fresh.remote_address().unwrap_err(), ErrorCode::InvalidState);
    assert_eq!(fresh.stream(None).unwrap_err(), ErrorCode::InvalidState);
    assert_eq!(fresh.start_bind(network, v6((0, 0, 0, 0, 0, 0, 0, 1), 0)), Err(ErrorCode::InvalidArgument));
    assert_eq!(fresh.start_bind(network, local(9999)), Err(ErrorCode::AccessDenied));
    fresh.start_bind(network, local(0)).unwrap();
    assert_eq!(fresh.start_bind(network, local(0)), Err(ErrorCode::ConcurrencyConflict));
    assert_eq!(fresh.local_address().unwrap_err(), ErrorCode::InvalidState);
    fresh.finish_bind().unwrap();
    assert_eq!(fresh.start_bind(network, local(0)), Err(ErrorCode::InvalidState));
    assert_ne!(parts(fresh.local_address().unwrap()).1, 0);
    assert!(fresh.subscribe().ready());
    assert_eq!(fresh.set_unicast_hop_limit(0), Err(ErrorCode::InvalidArgument));
    assert_eq!(fresh.set_unicast_hop_limit(7), Ok(()));
    assert_eq!(fresh.unicast_hop_limit(), Ok(7));
    assert_eq!(fresh.set_receive_buffer_size(0), Err(ErrorCode::InvalidArgument));
    assert_eq!(fresh.set_receive_buffer_size(16_384), Ok(()));
    assert!(fresh.receive_buffer_size().unwrap() >= 16_384);
    assert_eq!(fresh.set_send_buffer_size(u64::MAX), Ok(()));
    assert!(fresh.send_buffer_size().unwrap() > 0);
}
