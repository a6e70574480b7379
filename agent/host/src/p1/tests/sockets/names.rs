//! Names and their addresses.

use super::*;

const INET: u8 = 1;
const STREAM: u8 = 2;

/// WasmEdge's: the flags, family and type that are asked for, and the found families, types and addresses.
async fn getaddrinfo(
    wasi: &mut Wasi,
    (node, service): (&str, &str),
    (flags, family, ty): (u8, u8, u8),
    max: u32,
) -> Result<Vec<(u8, u8, SocketAddr)>, Errno> {
    let hints = wasi.put(&[&[flags, 0, family, ty][..], &[0; 24]].concat());
    let list = (0..max).map(|_| (wasi.room(28), wasi.room(12), wasi.room(26))).collect::<Vec<_>>();
    for (index, (info, sockaddr, data)) in list.iter().enumerate() {
        let next = list.get(index + 1).map_or(0, |(next, ..)| *next);
        wasi.memory[*info as usize + 12..][..4].copy_from_slice(&sockaddr.to_le_bytes());
        wasi.memory[*info as usize + 24..][..4].copy_from_slice(&next.to_le_bytes());
        wasi.memory[*sockaddr as usize + 8..][..4].copy_from_slice(&data.to_le_bytes());
    }
    let first = list.first().map_or(0, |(first, ..)| *first);
    let (results, found) = (wasi.put(&first.to_le_bytes()), wasi.room(4));
    let (node_at, service_at) = (wasi.put(node.as_bytes()), wasi.put(service.as_bytes()));
    let args =
        [node_at, node.len() as u32, service_at, service.len() as u32, hints, results, max, found].map(u64::from);
    wasi.call_waiting("sock_getaddrinfo", &args).await?;
    let found = wasi.u32(found) as usize;
    let read = |(info, sockaddr, data): &(u32, u32, u32)| {
        let port = u16::from_be_bytes(wasi.bytes(*data, 2).try_into().unwrap());
        let (family, ty) = (wasi.bytes(info + 2, 1)[0], wasi.bytes(info + 3, 1)[0]);
        assert_eq!(wasi.bytes(*sockaddr, 1)[0], family);
        let ip: IpAddr = match (family, wasi.u32(sockaddr + 4), wasi.u32(info + 8)) {
            (1, 14, 16) => <[u8; 4]>::try_from(wasi.bytes(data + 2, 4)).unwrap().into(),
            (2, 26, 28) => <[u8; 16]>::try_from(wasi.bytes(data + 6, 16)).unwrap().into(),
            other => panic!("{other:?}"),
        };
        (family, ty, (ip, port).into())
    };
    Ok(list[..found].iter().map(read).collect())
}

/// WAMR's, with a hint of a type (1 is stream) and a family, or none; how many there are, and what was written.
async fn resolve(
    wasi: &mut Wasi,
    (host, service): (&str, &str),
    hint: Option<(u32, u32)>,
    max: u32,
) -> Result<(u32, Vec<(u32, SocketAddr)>), Errno> {
    let (ty, family) = hint.unwrap_or_default();
    let hints = wasi.put(&[ty, family, u32::from(hint.is_some())].map(u32::to_le_bytes).concat());
    let (results, available) = (wasi.room(28 * max as usize), wasi.room(4));
    let (host, service) = (wasi.put(format!("{host}\0").as_bytes()), wasi.put(format!("{service}\0").as_bytes()));
    let args = [host, service, hints, results, max, available].map(u64::from);
    wasi.call_waiting("sock_addr_resolve", &args).await?;
    let count = wasi.u32(available);
    let read = |index| {
        let at = results + 28 * index;
        (wasi.u32(at + 24), Wamr.read_address(wasi, at, 0))
    };
    Ok((count, (0..count.min(max)).map(read).collect()))
}

#[tokio::test]
async fn a_name_is_resolved_where_that_is_granted() {
    let mut wasi = granted(&[], Grants { resolve: true, ..Grants::default() });
    let found = getaddrinfo(&mut wasi, ("localhost", "http"), (0, INET, STREAM), 8).await;
    assert_eq!(found, Ok(vec![(INET, STREAM, v4(80))]));
    // C's strings have their zeros.
    let found = getaddrinfo(&mut wasi, ("LocalHost.\0", "8080\0"), (0, INET, 0), 8).await;
    assert_eq!(found, Ok(vec![(INET, STREAM, v4(8080)), (INET, 1, v4(8080))]));
    let found = getaddrinfo(&mut wasi, ("localhost", ""), (0, INET, 0), 1).await;
    assert_eq!(found, Ok(vec![(INET, STREAM, v4(0))]));

    let found = resolve(&mut wasi, ("localhost", "80"), Some((1, 0)), 8).await;
    assert_eq!(found, Ok((1, vec![(1, v4(80))])));
    let (count, written) = resolve(&mut wasi, ("localhost", ""), None, 1).await.unwrap();
    assert!(count >= 2 && written.len() == 1, "{count}");
    // An address that was resolved is still none that may be reached.
    let fd = Wamr.open(&mut wasi, v4(0), Stream).unwrap();
    assert_eq!(Wamr.connect(&mut wasi, fd, v4(80)).await, Err(Errno::Acces));
}

#[tokio::test]
async fn a_name_is_not_resolved_where_that_is_not_granted() {
    let mut wasi = granted(&["127.0.0.1:*", "other.example:80"], Grants::default());
    assert_eq!(getaddrinfo(&mut wasi, ("localhost", ""), (0, INET, STREAM), 8).await, Err(Errno::Acces));
    assert_eq!(resolve(&mut wasi, ("localhost", ""), None, 8).await, Err(Errno::Acces));
    // An address is no name.
    let found = getaddrinfo(&mut wasi, ("10.1.2.3", "7"), (0, 0, STREAM), 8).await;
    assert_eq!(found, Ok(vec![(INET, STREAM, "10.1.2.3:7".parse().unwrap())]));
    assert_eq!(resolve(&mut wasi, ("::1", "7"), Some((1, 1)), 8).await, Ok((1, vec![(1, v6(7))])));
    assert_eq!(resolve(&mut wasi, ("::1", "7"), Some((1, 0)), 8).await, Ok((0, vec![])));
}

#[tokio::test]
async fn a_granted_name_may_be_resolved_and_then_connected_to() {
    let server = tokio::net::TcpListener::bind(v4(0)).await.unwrap();
    let address = server.local_addr().unwrap();
    for dialect in BOTH {
        let grant = format!("localhost:{}", address.port());
        let mut wasi = granted(&[&grant], Grants::default());
        let fd = dialect.open(&mut wasi, address, Stream).unwrap();
        // Not by its number alone.
        assert_eq!(dialect.connect(&mut wasi, fd, address).await, Err(Errno::Acces));
        match dialect {
            WasmEdge => drop(getaddrinfo(&mut wasi, ("localhost", ""), (0, INET, STREAM), 8).await.unwrap()),
            Wamr => drop(resolve(&mut wasi, ("localhost", ""), Some((1, 0)), 8).await.unwrap()),
        }
        assert_eq!(dialect.connect(&mut wasi, fd, address).await, Ok(()));
        // The name at another port is another grant.
        let other = dialect.open(&mut wasi, address, Stream).unwrap();
        assert_eq!(dialect.connect(&mut wasi, other, v4(address.port() ^ 1)).await, Err(Errno::Acces));
    }
}

#[tokio::test]
async fn what_cannot_be_asked_for() {
    let mut wasi = granted(&[], Grants { resolve: true, ..Grants::default() });
    for (names, hints, max, errno) in [
        (("", ""), (0, 0, 0), 8, Errno::Ainoname),
        (("localhost", ""), (0, 0, 0), 0, Errno::Aimemory),
        (("localhost", ""), (0x80, 0, 0), 8, Errno::Aibadflag),
        (("localhost", ""), (0, 3, 0), 8, Errno::Aifamily),
        (("localhost", ""), (0, 0, 3), 8, Errno::Nosys),
        (("localhost", "no such service"), (0, 0, 0), 8, Errno::Aiservice),
        (("localhost", "70000"), (0, 0, 0), 8, Errno::Aiservice),
        // Only numbers, it was said.
        (("localhost", ""), (4, 0, 0), 8, Errno::Ainoname),
        (("::1", ""), (0, INET, 0), 8, Errno::Ainodata),
        (("no name at all", ""), (0, 0, 0), 8, Errno::Ainoname),
        // What a resolver takes for 127.0.0.1.
        (("127.1", ""), (0, 0, 0), 8, Errno::Ainoname),
        (("0x7f000001", ""), (0, 0, 0), 8, Errno::Ainoname),
        (("a\0b", ""), (0, 0, 0), 8, Errno::Ainoname),
        ((&"a".repeat(2000), ""), (0, 0, 0), 8, Errno::Ainoname),
        (("localhost", &"1".repeat(2000)), (0, 0, 0), 8, Errno::Ainoname),
    ] {
        assert_eq!(getaddrinfo(&mut wasi, names, hints, max).await, Err(errno), "{names:?} {hints:?}");
    }
    let long = "a".repeat(2000);
    for (names, hint, errno) in [
        (("", ""), None, Errno::Noent),
        (("no name at all", ""), None, Errno::Noent),
        (("localhost", "no such service"), None, Errno::Inval),
        (("localhost", ""), Some((2, 0)), Errno::Inval),
        (("localhost", ""), Some((1, 2)), Errno::Afnosupport),
        ((&long, ""), None, Errno::Nametoolong),
    ] {
        assert_eq!(resolve(&mut wasi, names, hint, 8).await, Err(errno), "{names:?} {hint:?}");
    }
    // Nobody's name is everywhere for who binds, and here for who connects.
    let bound = getaddrinfo(&mut wasi, ("", "80"), (1, INET, STREAM), 8).await;
    assert_eq!(bound, Ok(vec![(INET, STREAM, "0.0.0.0:80".parse().unwrap())]));
    let here = getaddrinfo(&mut wasi, ("", "80"), (0, 0, STREAM), 8).await;
    assert_eq!(here, Ok(vec![(INET, STREAM, v4(80)), (2, STREAM, v6(80))]));
}
