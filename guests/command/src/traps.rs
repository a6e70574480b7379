//! Rules whose breach ends a guest.

use wasip2::cli::stdout::get_stdout;
use wasip2::clocks::monotonic_clock;
use wasip2::io::poll::poll;
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::IpAddressFamily;
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wasip2::sockets::udp::OutgoingDatagram;
use wasip2::sockets::udp_create_socket::create_udp_socket;

use crate::tcp::local;

/// Each of these must not come back.
pub(crate) fn run(which: &str) {
    match which {
        "poll-nothing" => drop(poll(&[])),
        "write-unasked" => drop(get_stdout().write(b"x")),
        "write-too-much" => {
            let out = get_stdout();
            let permit = out.check_write().unwrap();
            drop(out.write_zeroes(permit + 1));
        }
        "write-more-than-left" => {
            let out = get_stdout();
            let permit = out.check_write().unwrap();
            out.write_zeroes(permit).unwrap();
            drop(out.write(b"x"));
        }
        "blocking-write-too-much" => drop(get_stdout().blocking_write_and_flush(&[0; 4097])),
        "blocking-zeroes-too-much" => drop(get_stdout().blocking_write_zeroes_and_flush(4097)),
        "drop-parent" => {
            let out = get_stdout();
            let _child = out.subscribe();
            drop(out);
        }
        "drop-socket-with-pollable" => {
            let socket = create_tcp_socket(IpAddressFamily::Ipv4).unwrap();
            let _child = socket.subscribe();
            drop(socket);
        }
        "drop-twice" => {
            let timer = monotonic_clock::subscribe_duration(0);
            let again = second_owner(&timer);
            drop(timer);
            drop(again);
        }
        "use-after-drop" => {
            let timer = monotonic_clock::subscribe_duration(0);
            let again = second_owner(&timer);
            drop(timer);
            again.ready();
        }
        "random-without-end" => drop(wasip2::random::random::get_random_bytes(u64::MAX)),
        "too-many-handles" => loop {
            std::mem::forget(monotonic_clock::subscribe_duration(0));
        },
        "send-unasked" => {
            let socket = create_udp_socket(IpAddressFamily::Ipv4).unwrap();
            socket.start_bind(&instance_network(), local(0)).unwrap();
            socket.finish_bind().unwrap();
            let (_incoming, outgoing) = socket.stream(None).unwrap();
            let _ = outgoing.send(&[OutgoingDatagram { data: vec![], remote_address: None }]);
        }
        _ => panic!("there is no {which:?}"),
    }
}

/// A second owner of a handle, which bindings do not offer.
fn second_owner(pollable: &wasip2::io::poll::Pollable) -> wasip2::io::poll::Pollable {
    #[expect(unsafe_code, reason = "breaks the rule that the test is about")]
    // SAFETY: to the bindings a handle is a number; the host has to refuse the second use.
    unsafe {
        wasip2::io::poll::Pollable::from_handle(pollable.handle())
    }
}
