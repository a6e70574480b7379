//! The table of the socket extensions: what the standard does not have, under the standard's module.

use wasmi::{Caller, Func, ValType};

use super::{listen, options, wamr, wasmedge};
use crate::p1::table::{Function, table};
use crate::p1::{Args, Call, Cx, Outcome, enter, fd};
use crate::state::State;

table! {
    pub(in crate::p1) const FUNCTIONS;

    // WasmEdge's. Of the second version, accepting is the standard's.
    sock_open(family: u32, ty: u32, opened: u32) -> errno = wasmedge::open;
    sock_bind(fd: u32, addr: u32, port: u32) -> errno = wasmedge::bind;
    sock_accept(fd: u32, accepted: u32) -> errno = wasmedge::accept;
    sock_connect(fd: u32, addr: u32, port: u32) -> errno = wasmedge::connect;
    sock_recv_from(
        fd: u32, iovs: u32, count: u32, addr: u32, flags: u32, read: u32, out_flags: u32
    ) -> errno = wasmedge::recv_from_1;
    sock_recv_from(
        fd: u32, iovs: u32, count: u32, addr: u32, flags: u32, port: u32, read: u32, out_flags: u32
    ) -> errno = wasmedge::recv_from_2;
    sock_send_to(
        fd: u32, iovs: u32, count: u32, addr: u32, port: u32, flags: u32, written: u32
    ) -> errno = wasmedge::send_to;
    sock_getlocaladdr(fd: u32, addr: u32, ty: u32, port: u32) -> errno = wasmedge::local_1;
    sock_getlocaladdr(fd: u32, addr: u32, port: u32) -> errno = wasmedge::local_2;
    sock_getpeeraddr(fd: u32, addr: u32, ty: u32, port: u32) -> errno = wasmedge::peer_1;
    sock_getpeeraddr(fd: u32, addr: u32, port: u32) -> errno = wasmedge::peer_2;
    sock_getsockopt(fd: u32, level: u32, name: u32, at: u32, size: u32) -> errno = options::getsockopt;
    sock_setsockopt(fd: u32, level: u32, name: u32, at: u32, size: u32) -> errno = options::setsockopt;
    sock_getaddrinfo(
        node: u32, node_len: u32, service: u32, service_len: u32, hints: u32, results: u32, max: u32,
        found: u32
    ) -> errno = wasmedge::getaddrinfo;

    // Everybody's.
    sock_listen(fd: u32, backlog: u32) -> errno = listen;

    // WAMR's. Accepting is the standard's, and in earlier versions WasmEdge's first.
    sock_open(pool: u32, family: u32, ty: u32, opened: u32) -> errno = wamr::open;
    sock_bind(fd: u32, addr: u32) -> errno = wamr::bind;
    sock_close(fd: u32) -> errno = fd::close;
    sock_connect(fd: u32, addr: u32) -> errno = wamr::connect;
    sock_recv_from(fd: u32, iovs: u32, count: u32, flags: u32, addr: u32, read: u32) -> errno
        = wamr::recv_from;
    sock_send_to(fd: u32, iovs: u32, count: u32, flags: u32, addr: u32, written: u32) -> errno
        = wamr::send_to;
    sock_addr_local(fd: u32, addr: u32) -> errno = wamr::local;
    sock_addr_remote(fd: u32, addr: u32) -> errno = wamr::remote;
    sock_addr_resolve(
        host: u32, service: u32, hints: u32, results: u32, max: u32, available: u32
    ) -> errno = wamr::resolve;

    sock_get_broadcast(fd: u32, on: u32) -> errno = options::get_broadcast;
    sock_set_broadcast(fd: u32, on: u32) -> errno = options::set_broadcast;
    sock_get_ip_multicast_loop(fd: u32, v6: u32, on: u32) -> errno = options::get_ip_multicast_loop;
    sock_set_ip_multicast_loop(fd: u32, v6: u32, on: u32) -> errno = options::set_ip_multicast_loop;
    sock_get_ip_multicast_ttl(fd: u32, ttl: u32) -> errno = options::get_ip_multicast_ttl;
    sock_set_ip_multicast_ttl(fd: u32, ttl: u32) -> errno = options::set_ip_multicast_ttl;
    sock_get_ip_ttl(fd: u32, ttl: u32) -> errno = options::get_ip_ttl;
    sock_set_ip_ttl(fd: u32, ttl: u32) -> errno = options::set_ip_ttl;
    sock_get_ipv6_only(fd: u32, on: u32) -> errno = options::get_ipv6_only;
    sock_set_ipv6_only(fd: u32, on: u32) -> errno = options::set_ipv6_only;
    sock_get_keep_alive(fd: u32, on: u32) -> errno = options::get_keep_alive;
    sock_set_keep_alive(fd: u32, on: u32) -> errno = options::set_keep_alive;
    sock_get_linger(fd: u32, on: u32, secs: u32) -> errno = options::get_linger;
    sock_set_linger(fd: u32, on: u32, secs: u32) -> errno = options::set_linger;
    sock_get_recv_buf_size(fd: u32, size: u32) -> errno = options::get_recv_buf_size;
    sock_set_recv_buf_size(fd: u32, size: u32) -> errno = options::set_recv_buf_size;
    sock_get_recv_timeout(fd: u32, micros: u32) -> errno = options::get_recv_timeout;
    sock_set_recv_timeout(fd: u32, micros: u64) -> errno = options::set_recv_timeout;
    sock_get_reuse_addr(fd: u32, on: u32) -> errno = options::get_reuse_addr;
    sock_set_reuse_addr(fd: u32, on: u32) -> errno = options::set_reuse_addr;
    sock_get_reuse_port(fd: u32, on: u32) -> errno = options::get_reuse_port;
    sock_set_reuse_port(fd: u32, on: u32) -> errno = options::set_reuse_port;
    sock_get_send_buf_size(fd: u32, size: u32) -> errno = options::get_send_buf_size;
    sock_set_send_buf_size(fd: u32, size: u32) -> errno = options::set_send_buf_size;
    sock_get_send_timeout(fd: u32, micros: u32) -> errno = options::get_send_timeout;
    sock_set_send_timeout(fd: u32, micros: u64) -> errno = options::set_send_timeout;
    sock_get_tcp_fastopen_connect(fd: u32, on: u32) -> errno = options::tcp_fastopen_connect;
    sock_set_tcp_fastopen_connect(fd: u32, on: u32) -> errno = options::tcp_fastopen_connect;
    sock_get_tcp_keep_idle(fd: u32, secs: u32) -> errno = options::get_tcp_keep_idle;
    sock_set_tcp_keep_idle(fd: u32, secs: u32) -> errno = options::set_tcp_keep_idle;
    sock_get_tcp_keep_intvl(fd: u32, secs: u32) -> errno = options::get_tcp_keep_intvl;
    sock_set_tcp_keep_intvl(fd: u32, secs: u32) -> errno = options::set_tcp_keep_intvl;
    sock_get_tcp_no_delay(fd: u32, on: u32) -> errno = options::get_tcp_no_delay;
    sock_set_tcp_no_delay(fd: u32, on: u32) -> errno = options::set_tcp_no_delay;
    sock_get_tcp_quick_ack(fd: u32, on: u32) -> errno = options::get_tcp_quick_ack;
    sock_set_tcp_quick_ack(fd: u32, on: u32) -> errno = options::set_tcp_quick_ack;
    sock_set_ip_add_membership(fd: u32, group: u32, interface: u32) -> errno = options::set_ip_add_membership;
    sock_set_ip_drop_membership(fd: u32, group: u32, interface: u32) -> errno = options::set_ip_drop_membership;
}
