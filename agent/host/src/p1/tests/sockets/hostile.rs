//! Lengths, addresses, families and descriptors that no honest program gives.

use proptest::prelude::*;

use super::*;
use crate::p1::Stop;
use crate::p1::table::all;
use crate::state::Wait;

#[tokio::test]
async fn an_address_outside_is_a_fault() {
    let mut wasi = granted(&["127.0.0.1:*"], Grants { resolve: true, ..Grants::default() });
    let fd = u64::from(WasmEdge.open(&mut wasi, v4(0), Datagram).unwrap());
    let edge = WasmEdge.address(&mut wasi, v4(9))[0];
    let addr = Wamr.address(&mut wasi, v4(9))[0];
    let room = u64::from(wasi.room(128));
    let iovs = u64::from(wasi.put(&[(room as u32).to_le_bytes(), 4_u32.to_le_bytes()].concat()));
    let name = u64::from(wasi.put(b"::1\0"));
    let hints = u64::from(wasi.put(&[0; 28]));
    let list = u64::from(wasi.put(&(hints as u32).to_le_bytes()));
    let end = wasi.memory.len() as u64;
    let astray = [(end as u32 - 3, 4_u32), (room as u32, u32::MAX)]
        .map(|(at, len)| u64::from(wasi.put(&[at.to_le_bytes(), len.to_le_bytes()].concat())));

    for bad in [end, end - 1, u64::from(u32::MAX), u64::from(u32::MAX) - 7].into_iter() {
        let cases: &[(&str, &[u64])] = &[
            ("sock_open", &[1, 2, bad]),
            ("sock_open", &[0, 0, 1, bad]),
            ("sock_bind", &[fd, bad, 0]),
            ("sock_bind", &[fd, bad]),
            ("sock_connect", &[fd, bad, 9]),
            ("sock_connect", &[fd, bad]),
            ("sock_accept", &[fd, bad]),
            ("sock_recv_from", &[fd, bad, 1, edge, 0, room, room, room]),
            ("sock_recv_from", &[fd, iovs, 1, bad, 0, room, room, room]),
            ("sock_recv_from", &[fd, iovs, 1, edge, 0, bad, room, room]),
            ("sock_recv_from", &[fd, iovs, 1, edge, 0, room, bad, room]),
            ("sock_recv_from", &[fd, iovs, 1, edge, 0, room, room, bad]),
            ("sock_recv_from", &[fd, iovs, 1, bad, 0, room, room]),
            ("sock_recv_from", &[fd, bad, 1, 0, room, room]),
            ("sock_recv_from", &[fd, iovs, 1, 0, bad, room]),
            ("sock_recv_from", &[fd, iovs, 1, 0, room, bad]),
            ("sock_send_to", &[fd, bad, 1, edge, 9, 0, room]),
            ("sock_send_to", &[fd, iovs, 1, bad, 9, 0, room]),
            ("sock_send_to", &[fd, iovs, 1, edge, 9, 0, bad]),
            ("sock_send_to", &[fd, bad, 1, 0, addr, room]),
            ("sock_send_to", &[fd, iovs, 1, 0, bad, room]),
            ("sock_send_to", &[fd, iovs, 1, 0, addr, bad]),
            ("sock_getlocaladdr", &[fd, bad, room]),
            ("sock_getlocaladdr", &[fd, edge, bad]),
            ("sock_getlocaladdr", &[fd, edge, bad, room]),
            ("sock_getlocaladdr", &[fd, edge, room, bad]),
            ("sock_addr_local", &[fd, bad]),
            ("sock_getsockopt", &[fd, 0, 0, bad, list]),
            ("sock_getsockopt", &[fd, 0, 0, room, bad]),
            ("sock_setsockopt", &[fd, 0, 0, bad, 4]),
            ("sock_setsockopt", &[fd, 0, 0, room, bad]),
            ("sock_getaddrinfo", &[bad, 3, name, 0, hints, list, 1, room]),
            ("sock_getaddrinfo", &[name, bad, name, 0, hints, list, 1, room]),
            ("sock_getaddrinfo", &[name, 3, bad, 3, hints, list, 1, room]),
            ("sock_getaddrinfo", &[name, 3, name, 0, bad, list, 1, room]),
            ("sock_getaddrinfo", &[name, 3, name, 0, hints, bad, 1, room]),
            ("sock_getaddrinfo", &[name, 3, name, 0, hints, list, 1, bad]),
            ("sock_addr_resolve", &[name, name + 3, bad, room, 1, room]),
            ("sock_addr_resolve", &[name, name + 3, hints, bad, 1, room]),
            ("sock_addr_resolve", &[name, name + 3, hints, room, 1, bad]),
            ("sock_get_reuse_addr", &[fd, bad + 1]),
            ("sock_get_recv_buf_size", &[fd, bad]),
            ("sock_get_recv_timeout", &[fd, bad]),
            ("sock_get_linger", &[fd, room, bad]),
            ("sock_get_linger", &[fd, end, room]),
            ("sock_set_ip_add_membership", &[fd, bad, 0]),
        ];
        for (name, args) in cases {
            let args = args.iter().map(|arg| (*arg).min(u32::MAX.into())).collect::<Vec<_>>();
            assert_eq!(wasi.call(name, &args), Err(Errno::Fault), "{name} {args:?}");
        }
    }
    for list in astray {
        for (name, args) in [
            ("sock_recv_from", &[fd, list, 1, edge, 0, room, room, room][..]),
            ("sock_recv_from", &[fd, list, 1, 0, room, room]),
            ("sock_send_to", &[fd, list, 1, edge, 9, 0, room]),
            ("sock_send_to", &[fd, list, 1, 0, addr, room]),
            // And the same as an address with its length.
            ("sock_bind", &[fd, list, 0]),
            ("sock_getlocaladdr", &[fd, list, room]),
        ] {
            assert_eq!(wasi.call(name, args), Err(Errno::Fault), "{name} {args:?}");
        }
    }
}

#[tokio::test]
async fn lengths_families_and_types_that_there_are_not() {
    let mut wasi = granted(&["127.0.0.1:*"], Grants::default());
    let at = u64::from(wasi.room(128));
    for (args, errno) in [
        (&[0, 2, at][..], Errno::Afnosupport),
        (&[3, 2, at], Errno::Afnosupport),
        (&[1, 0, at], Errno::Inval),
        (&[1, 3, at], Errno::Inval),
        (&[0, 2, 1, at], Errno::Afnosupport),
        (&[0, 0, 2, at], Errno::Inval),
    ] {
        assert_eq!(wasi.call("sock_open", args), Err(errno), "{args:?}");
    }
    let fd = u64::from(WasmEdge.open(&mut wasi, v4(0), Stream).unwrap());
    for len in [0_u32, 3, 5, 15, 17, 127] {
        let list = u64::from(wasi.put(&[(at as u32).to_le_bytes(), len.to_le_bytes()].concat()));
        assert_eq!(wasi.call("sock_bind", &[fd, list, 0]), Err(Errno::Inval), "{len}");
        assert_eq!(wasi.call("sock_connect", &[fd, list, 9]), Err(Errno::Inval), "{len}");
        assert_eq!(wasi.call("sock_getlocaladdr", &[fd, list, at]), Err(Errno::Inval), "{len}");
    }
    // A storage without a family, and a port that is none.
    let storage = u64::from(wasi.put(&[(at as u32).to_le_bytes(), 128_u32.to_le_bytes()].concat()));
    assert_eq!(wasi.call("sock_bind", &[fd, storage, 0]), Err(Errno::Afnosupport));
    wasi.memory[at as usize..][..6].copy_from_slice(&[1, 0, 127, 0, 0, 1]);
    assert_eq!(wasi.call("sock_bind", &[fd, storage, 65_536]), Err(Errno::Inval));
    assert_eq!(wasi.call("sock_bind", &[fd, storage, 0]), Ok(()));
    // Sixteen bytes hold four, and the first version says which; four do not hold sixteen.
    let (ty, port) = (wasi.room(4), wasi.room(4));
    let sixteen = wasi.put(&[(at as u32).to_le_bytes(), 16_u32.to_le_bytes()].concat());
    assert_eq!(wasi.call("sock_getlocaladdr", &[fd, sixteen.into(), ty.into(), port.into()]), Ok(()));
    assert_eq!((wasi.bytes(at as u32, 4), wasi.u32(ty)), (&[127, 0, 0, 1][..], 4));
    assert_ne!(wasi.u32(port), 0);
    if loopbacks().len() == 2 {
        let fd = WasmEdge.open(&mut wasi, v6(0), Stream).unwrap();
        WasmEdge.bind(&mut wasi, fd, v6(0)).unwrap();
        let four = wasi.put(&[(at as u32).to_le_bytes(), 4_u32.to_le_bytes()].concat());
        assert_eq!(
            wasi.call("sock_getlocaladdr", &[fd.into(), four.into(), ty.into(), port.into()]),
            Err(Errno::Inval)
        );
        assert_eq!(wasi.call("sock_getlocaladdr", &[fd.into(), sixteen.into(), ty.into(), port.into()]), Ok(()));
        assert_eq!(wasi.u32(ty), 6);
    }
    let wamr = Wamr.address(&mut wasi, v4(9))[0];
    wasi.memory[wamr as usize] = 2;
    assert_eq!(wasi.call("sock_connect", &[fd, wamr]), Err(Errno::Afnosupport));
}

#[tokio::test]
async fn what_is_no_socket() {
    for dialect in BOTH {
        let mut wasi = granted(&["127.0.0.1:*"], Grants::default());
        let file = wasi.file("f", b"");
        for (fd, errno) in [(file, Errno::Notsock), (1, Errno::Notsock), (3, Errno::Notsock), (99, Errno::Badf)] {
            assert_eq!(dialect.bind(&mut wasi, fd, v4(0)), Err(errno));
            assert_eq!(wasi.call("sock_listen", &[fd.into(), 1]), Err(errno));
            assert_eq!(dialect.connect(&mut wasi, fd, v4(9)).await, Err(errno));
            assert_eq!(dialect.accept(&mut wasi, fd).await, Err(errno));
            assert_eq!(dialect.recv_from(&mut wasi, fd, &[1], 0).await, Err(errno));
            assert_eq!(dialect.send_to(&mut wasi, fd, &[b"x"], v4(9)).await, Err(errno));
            assert_eq!(dialect.local(&mut wasi, fd), Err(errno));
            assert_eq!(dialect.peer(&mut wasi, fd), Err(errno));
        }
        let fd = dialect.open(&mut wasi, v4(0), Datagram).unwrap();
        assert_eq!(dialect.recv_from(&mut wasi, fd, &[1], 4).await, Err(Errno::Inval));
        assert_eq!(dialect.accept(&mut wasi, fd).await, Err(Errno::Notsup));
        // Rights that were given up.
        wasi.call("fd_fdstat_set_rights", &[fd.into(), 0, 0]).unwrap();
        assert_eq!(dialect.recv_from(&mut wasi, fd, &[1], 0).await, Err(Errno::Notcapable));
        assert_eq!(dialect.send_to(&mut wasi, fd, &[b"x"], v4(9)).await, Err(Errno::Notcapable));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Any function of the extensions, with any arguments: no panic. The guest may reach nobody.
    #[test]
    fn anything_at_all(
        memory in proptest::collection::vec(any::<u8>(), 1024),
        calls in proptest::collection::vec((any::<usize>(), proptest::array::uniform9(argument())), 64),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        let mut wasi = granted(&[], Grants::default());
        for (dialect, ty) in [(WasmEdge, Stream), (WasmEdge, Datagram), (Wamr, Stream), (Wamr, Datagram)] {
            dialect.open(&mut wasi, v4(0), ty).unwrap();
        }
        wasi.memory[..memory.len()].copy_from_slice(&memory);
        let functions = all().map(|(_, function)| function);
        let functions = functions.filter(|function| function.name.starts_with("sock_")).collect::<Vec<_>>();
        for (index, args) in calls {
            let function = functions[index % functions.len()];
            let mut args = args[..function.params.len()].to_vec();
            for (arg, ty) in args.iter_mut().zip(function.params) {
                if *ty == wasmi::ValType::I32 {
                    *arg = u64::from(*arg as u32);
                }
            }
            match wasi.attempt(function.name, &args) {
                Ok(()) | Err(Stop::Errno(_)) => {}
                Err(Stop::Wait) => {
                    let may = ["sock_recv", "sock_recv_from"];
                    prop_assert!(may.contains(&function.name), "{} waits", function.name);
                }
                Err(Stop::Exit(code)) => prop_assert!(false, "{} exits with {code}", function.name),
            }
            wasi.state.wait = Wait::default();
        }
    }
}

fn argument() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..16_u64,
        0..1024_u64,
        (256 * 1024 - 64)..(256 * 1024 + 64_u64),
        (u64::from(u32::MAX) - 64)..=u64::from(u32::MAX),
        any::<u64>(),
    ]
}
