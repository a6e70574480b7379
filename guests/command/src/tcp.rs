//! `wasi:sockets/tcp`.

use wasip2::io::poll::poll;
use wasip2::io::streams::{InputStream, OutputStream, StreamError};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{
    ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, Network,
};
use wasip2::sockets::tcp::{ShutdownType, TcpSocket};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

const SECOND: u64 = 1_000_000_000;

pub(crate) fn local(port: u16) -> IpSocketAddress {
    v4((127, 0, 0, 1), port)
}

pub(crate) fn v4(address: (u8, u8, u8, u8), port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address })
}

pub(crate) fn v6(address: (u16, u16, u16, u16, u16, u16, u16, u16), port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv6(Ipv6SocketAddress { port, flow_info: 0, address, scope_id: 0 })
}

pub(crate) fn parts(address: IpSocketAddress) -> ((u8, u8, u8, u8), u16) {
    match address {
        IpSocketAddress::Ipv4(address) => (address.address, address.port),
        IpSocketAddress::Ipv6(address) => panic!("{address:?}"),
    }
}

fn socket() -> TcpSocket {
    create_tcp_socket(IpAddressFamily::Ipv4).unwrap()
}

fn bound(network: &Network, port: u16) -> TcpSocket {
    let socket = socket();
    socket.start_bind(network, local(port)).unwrap();
    socket.finish_bind().unwrap();
    socket
}

/// What is valid when. Port 7878 is published.
pub(crate) fn states() {
    let network = instance_network();
    let fresh = socket();
    assert_eq!(fresh.address_family(), IpAddressFamily::Ipv4);
    assert!(!fresh.is_listening() && fresh.subscribe().ready());
    assert_eq!(fresh.finish_bind(), Err(ErrorCode::NotInProgress));
    assert_eq!(fresh.finish_listen(), Err(ErrorCode::NotInProgress));
    assert_eq!(fresh.finish_connect().unwrap_err(), ErrorCode::NotInProgress);
    assert_eq!(fresh.start_listen(), Err(ErrorCode::InvalidState));
    assert_eq!(fresh.accept().unwrap_err(), ErrorCode::InvalidState);
    assert_eq!(fresh.local_address().unwrap_err(), ErrorCode::InvalidState);
    assert_eq!(fresh.remote_address().unwrap_err(), ErrorCode::InvalidState);
    assert_eq!(fresh.shutdown(ShutdownType::Both), Err(ErrorCode::InvalidState));

    let mapped = (0, 0, 0, 0, 0, 0xffff, 0x7f00, 1);
    let six = create_tcp_socket(IpAddressFamily::Ipv6).unwrap();
    assert_eq!(six.address_family(), IpAddressFamily::Ipv6);
    for (socket, address, code) in [
        (&fresh, v6((0, 0, 0, 0, 0, 0, 0, 1), 7878), ErrorCode::InvalidArgument),
        (&six, local(7878), ErrorCode::InvalidArgument),
        (&six, v6(mapped, 7878), ErrorCode::InvalidArgument),
        (&fresh, v4((224, 0, 0, 1), 7878), ErrorCode::InvalidArgument),
        (&fresh, v4((255, 255, 255, 255), 7878), ErrorCode::InvalidArgument),
        (&fresh, v4((192, 0, 2, 1), 0), ErrorCode::AddressNotBindable),
        (&fresh, local(9999), ErrorCode::AccessDenied),
    ] {
        assert_eq!(socket.start_bind(&network, address), Err(code), "{address:?}");
    }
    for (socket, address, code) in [
        (&fresh, v6((0, 0, 0, 0, 0, 0, 0, 1), 80), ErrorCode::InvalidArgument),
        (&six, v6(mapped, 80), ErrorCode::InvalidArgument),
        (&fresh, v4((0, 0, 0, 0), 80), ErrorCode::InvalidArgument),
        (&fresh, v4((224, 0, 0, 1), 80), ErrorCode::InvalidArgument),
        (&fresh, local(0), ErrorCode::InvalidArgument),
        (&fresh, local(80), ErrorCode::AccessDenied),
    ] {
        assert_eq!(socket.start_connect(&network, address), Err(code), "{address:?}");
    }

    let socket = fresh;
    socket.start_bind(&network, local(7878)).unwrap();
    assert_eq!(socket.start_bind(&network, local(7878)), Err(ErrorCode::ConcurrencyConflict));
    assert_eq!(socket.local_address().unwrap_err(), ErrorCode::InvalidState);
    socket.finish_bind().unwrap();
    assert_eq!(socket.finish_bind(), Err(ErrorCode::NotInProgress));
    assert_eq!(socket.start_bind(&network, local(7878)), Err(ErrorCode::InvalidState));
    assert_eq!(parts(socket.local_address().unwrap()), ((127, 0, 0, 1), 7878));
    assert_eq!(
        create_tcp_socket(IpAddressFamily::Ipv4).unwrap().start_bind(&network, local(7878)),
        Err(ErrorCode::AddressInUse)
    );
    assert_eq!(socket.set_listen_backlog_size(0), Err(ErrorCode::InvalidArgument));
    assert_eq!(socket.set_listen_backlog_size(128), Ok(()));
    socket.start_listen().unwrap();
    assert_eq!(socket.start_listen(), Err(ErrorCode::ConcurrencyConflict));
    assert!(!socket.is_listening());
    socket.finish_listen().unwrap();
    assert!(socket.is_listening());
    assert_eq!(socket.start_listen(), Err(ErrorCode::InvalidState));
    assert_eq!(socket.start_connect(&network, local(80)), Err(ErrorCode::InvalidState));
    assert_eq!(socket.accept().unwrap_err(), ErrorCode::WouldBlock);
    assert!(!socket.subscribe().ready());
    assert_eq!(socket.remote_address().unwrap_err(), ErrorCode::InvalidState);

    // A port that nobody is told: it is bound, and nobody could connect to it.
    let private = bound(&network, 0);
    assert_ne!(parts(private.local_address().unwrap()).1, 0);
    assert_eq!(private.start_listen(), Err(ErrorCode::AccessDenied));
    assert_eq!(private.local_address().unwrap_err(), ErrorCode::InvalidState);
}

fn connect(network: &Network, port: u16) -> (TcpSocket, InputStream, OutputStream) {
    let socket = socket();
    socket.start_connect(network, local(port)).unwrap();
    assert_eq!(socket.start_connect(network, local(port)), Err(ErrorCode::ConcurrencyConflict));
    let ready = socket.subscribe();
    let (input, output) = loop {
        match socket.finish_connect() {
            Err(ErrorCode::WouldBlock) => ready.block(),
            outcome => break outcome.unwrap(),
        }
    };
    (socket, input, output)
}

/// A connection to the guest itself: its port 7878 is published at this one.
pub(crate) fn connection(port: u16) {
    let network = instance_network();
    let listener = bound(&network, 7878);
    listener.start_listen().unwrap();
    listener.finish_listen().unwrap();
    options(&listener);
    let (client, input, output) = connect(&network, port);
    listener.subscribe().block();
    let (server, server_input, server_output) = listener.accept().unwrap();
    options(&client);
    assert_eq!(server.keep_alive_enabled(), Ok(true));
    assert_eq!(server.keep_alive_idle_time(), Ok(10 * SECOND));
    assert_eq!(server.hop_limit(), Ok(42));

    assert_eq!(parts(client.remote_address().unwrap()), ((127, 0, 0, 1), port));
    assert_eq!(parts(server.local_address().unwrap()), ((127, 0, 0, 1), 7878));
    assert_eq!(parts(server.remote_address().unwrap()), parts(client.local_address().unwrap()));
    assert_eq!(client.start_bind(&network, local(0)), Err(ErrorCode::InvalidState));
    assert_eq!(client.start_connect(&network, local(port)), Err(ErrorCode::InvalidState));
    assert_eq!(client.finish_connect().unwrap_err(), ErrorCode::NotInProgress);
    assert_eq!(client.set_listen_backlog_size(1), Err(ErrorCode::InvalidState));
    assert!(client.subscribe().ready());

    // Nothing has come yet.
    assert_eq!(server_input.read(10).unwrap(), b"");
    let waiting = server_input.subscribe();
    assert!(!waiting.ready());
    output.blocking_write_and_flush(b"ping").unwrap();
    assert_eq!(poll(&[&waiting]), [0]);
    assert_eq!(server_input.read(2).unwrap(), b"pi");
    assert_eq!(server_input.blocking_read(100).unwrap(), b"ng");
    assert_eq!(server_input.read(0).unwrap(), b"");

    more_than_the_kernel_takes(&server_output, &input);
    drop(waiting);

    client.shutdown(ShutdownType::Send).unwrap();
    client.shutdown(ShutdownType::Send).unwrap();
    assert!(matches!(output.check_write(), Err(StreamError::Closed)));
    assert!(matches!(server_input.blocking_read(1), Err(StreamError::Closed)));
    server_output.blocking_write_and_flush(b"bye").unwrap();
    assert_eq!(input.blocking_read(10).unwrap(), b"bye");
    server.shutdown(ShutdownType::Both).unwrap();
    assert!(matches!(input.blocking_read(1), Err(StreamError::Closed)));
    assert!(matches!(server_input.read(1), Err(StreamError::Closed)));
    assert!(matches!(server_output.check_write(), Err(StreamError::Closed)));
}

/// What is permitted is taken, however little the connection takes; and it leaves while the guest waits for
/// something else.
fn more_than_the_kernel_takes(output: &OutputStream, input: &InputStream) {
    let ready = output.subscribe();
    let mut written = 0_u64;
    loop {
        let permit = output.check_write().unwrap();
        if permit == 0 {
            break;
        }
        output.write(&vec![7; permit as usize]).unwrap();
        written += permit;
    }
    assert!(!ready.ready());
    let mut read = 0;
    while read < written {
        let bytes = input.blocking_read(1 << 20).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 7));
        read += bytes.len() as u64;
    }
    assert_eq!(read, written);
    ready.block();
    assert!(output.check_write().unwrap() > 0);
}

fn options(socket: &TcpSocket) {
    assert_eq!(socket.set_keep_alive_idle_time(0), Err(ErrorCode::InvalidArgument));
    assert_eq!(socket.set_keep_alive_interval(0), Err(ErrorCode::InvalidArgument));
    assert_eq!(socket.set_keep_alive_count(0), Err(ErrorCode::InvalidArgument));
    assert_eq!(socket.set_hop_limit(0), Err(ErrorCode::InvalidArgument));
    assert_eq!(socket.set_receive_buffer_size(0), Err(ErrorCode::InvalidArgument));
    assert_eq!(socket.set_send_buffer_size(0), Err(ErrorCode::InvalidArgument));
    for huge in [1, u64::MAX] {
        assert_eq!(socket.set_keep_alive_idle_time(huge), Ok(()));
        assert_eq!(socket.set_keep_alive_interval(huge), Ok(()));
        assert_eq!(socket.set_receive_buffer_size(huge), Ok(()));
        assert_eq!(socket.set_send_buffer_size(huge), Ok(()));
    }
    assert_eq!(socket.set_keep_alive_count(u32::MAX), Ok(()));
    assert_eq!(socket.set_keep_alive_enabled(true), Ok(()));
    assert_eq!(socket.keep_alive_enabled(), Ok(true));
    assert_eq!(socket.set_keep_alive_idle_time(10 * SECOND), Ok(()));
    assert_eq!(socket.keep_alive_idle_time(), Ok(10 * SECOND));
    assert_eq!(socket.set_keep_alive_interval(20 * SECOND), Ok(()));
    assert_eq!(socket.keep_alive_interval(), Ok(20 * SECOND));
    assert_eq!(socket.set_keep_alive_count(5), Ok(()));
    assert_eq!(socket.keep_alive_count(), Ok(5));
    assert_eq!(socket.set_hop_limit(42), Ok(()));
    assert_eq!(socket.hop_limit(), Ok(42));
    assert_eq!(socket.set_receive_buffer_size(16_384), Ok(()));
    assert!(socket.receive_buffer_size().unwrap() >= 16_384);
    assert_eq!(socket.set_send_buffer_size(16_384), Ok(()));
    assert!(socket.send_buffer_size().unwrap() >= 16_384);
}

/// Nobody listens on this port.
pub(crate) fn refused(port: u16) {
    let network = instance_network();
    let socket = socket();
    let code = match socket.start_connect(&network, local(port)) {
        Err(code) => code,
        Ok(()) => loop {
            match socket.finish_connect() {
                Err(ErrorCode::WouldBlock) => socket.subscribe().block(),
                outcome => break outcome.unwrap_err(),
            }
        },
    };
    assert_eq!(code, ErrorCode::ConnectionRefused);
    // Closed for good.
    assert_eq!(socket.start_connect(&network, local(port)), Err(ErrorCode::InvalidState));
    assert_eq!(socket.finish_connect().unwrap_err(), ErrorCode::NotInProgress);
    assert_eq!(socket.local_address().unwrap_err(), ErrorCode::InvalidState);
    assert!(socket.subscribe().ready());
}
