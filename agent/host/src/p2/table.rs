//! The one table of WASI 0.2: every interface, its functions, their types, and what does them.

use super::abi::{Ty, Wit};
use super::call::{Frame, Returned, Stop};
use super::handles::{Borrow, Own};
use super::{abi::Buffer, abi::Bytes, cli, clocks, filesystem as fs, http, io, random, sockets as net};

/// A function of an interface.
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) params: Ty,
    pub(super) result: Ty,
    pub(super) run: fn(&mut Frame<'_>) -> Result<Option<u64>, Stop>,
}

pub(super) struct Interface {
    /// Without its version: those of 0.2 only ever gain functions.
    pub(super) name: &'static str,
    pub(super) functions: &'static [Function],
}

/// The interface of that name.
pub(super) fn interface(name: &str) -> Option<&'static Interface> {
    INTERFACES.iter().find(|interface| interface.name == name)
}

impl Interface {
    pub(super) fn function(&self, name: &str) -> Option<&'static Function> {
        self.functions.iter().find(|function| function.name == name)
    }
}

macro_rules! interfaces {
    ($($interface:literal {
        $($name:literal ($($param:ident: $ty:ty),*) $(-> $result:ty)? = $does:path;)*
    })*) => {
        const INTERFACES: &[Interface] = &[$(Interface {
            name: $interface,
            functions: &[$(Function {
                name: $name,
                params: Ty::Tuple(&[$(&<$ty as Wit>::TY),*]),
                result: interfaces!(@ty $($result)?),
                run: |frame: &mut Frame<'_>| {
                    frame.call::<interfaces!(@params $($ty)*), interfaces!(@result $($result)?)>(
                        |cx, interfaces!(@pattern $($param)*)| Returned::split($does(cx, $($param),*)),
                    )
                },
            },)*],
        },)*];
    };
    (@ty) => { Ty::Unit };
    (@ty $result:ty) => { <$result as Wit>::TY };
    (@result) => { () };
    (@result $result:ty) => { $result };
    (@params) => { () };
    (@params $($ty:ty)+) => { ($($ty,)+) };
    (@pattern) => { () };
    (@pattern $($param:ident)+) => { ($($param,)+) };
}

type Input = Borrow<io::InputStream>;
type Output = Borrow<io::OutputStream>;
type File = Borrow<fs::Descriptor>;
type Tcp = Borrow<net::TcpSocket>;
type Udp = Borrow<net::UdpSocket>;
type Net = Borrow<net::Network>;
type Pollable = Own<io::Pollable>;
type Address = std::net::SocketAddr;
type Io<T> = Result<T, io::StreamError>;
type Fs<T> = Result<T, fs::ErrorCode>;
type Fields = Borrow<http::Fields>;
type Request = Borrow<http::OutgoingRequest>;
type Options = Borrow<http::RequestOptions>;
type Header<T> = Result<T, http::HeaderError>;
type Plain<T> = Result<T, ()>;
type Sock<T> = Result<T, net::ErrorCode>;

interfaces! {
    "wasi:cli/environment" {
        "get-environment"() -> Vec<(String, String)> = cli::get_environment;
        "get-arguments"() -> Vec<String> = cli::get_arguments;
        "initial-cwd"() -> Option<String> = cli::initial_cwd;
    }
    "wasi:cli/exit" {
        "exit"(status: Result<(), ()>) = cli::exit;
        "exit-with-code"(code: u8) = cli::exit_with_code;
    }
    "wasi:cli/stdin" { "get-stdin"() -> Own<io::InputStream> = cli::get_stdin; }
    "wasi:cli/stdout" { "get-stdout"() -> Own<io::OutputStream> = cli::get_stdout; }
    "wasi:cli/stderr" { "get-stderr"() -> Own<io::OutputStream> = cli::get_stderr; }
    "wasi:cli/terminal-input" {}
    "wasi:cli/terminal-output" {}
    "wasi:cli/terminal-stdin" { "get-terminal-stdin"() -> Option<Own<cli::TerminalInput>> = cli::no_terminal_input; }
    "wasi:cli/terminal-stdout" {
        "get-terminal-stdout"() -> Option<Own<cli::TerminalOutput>> = cli::no_terminal_output;
    }
    "wasi:cli/terminal-stderr" {
        "get-terminal-stderr"() -> Option<Own<cli::TerminalOutput>> = cli::no_terminal_output;
    }

    "wasi:clocks/monotonic-clock" {
        "now"() -> u64 = clocks::monotonic_now;
        "resolution"() -> u64 = clocks::monotonic_resolution;
        "subscribe-instant"(when: u64) -> Pollable = clocks::subscribe_instant;
        "subscribe-duration"(when: u64) -> Pollable = clocks::subscribe_duration;
    }
    "wasi:clocks/wall-clock" {
        "now"() -> clocks::Datetime = clocks::wall_now;
        "resolution"() -> clocks::Datetime = clocks::wall_resolution;
    }
    "wasi:clocks/timezone" {
        "display"(when: clocks::Datetime) -> clocks::TimezoneDisplay = clocks::display;
        "utc-offset"(when: clocks::Datetime) -> i32 = clocks::utc_offset;
    }

    "wasi:filesystem/preopens" { "get-directories"() -> Vec<(Own<fs::Descriptor>, String)> = fs::get_directories; }
    "wasi:filesystem/types" {
        "[method]descriptor.read-via-stream"(this: File, at: u64) -> Fs<Own<io::InputStream>> = fs::read_via_stream;
        "[method]descriptor.write-via-stream"(this: File, at: u64) -> Fs<Own<io::OutputStream>> = fs::write_via_stream;
        "[method]descriptor.append-via-stream"(this: File) -> Fs<Own<io::OutputStream>> = fs::append_via_stream;
        "[method]descriptor.advise"(this: File, at: u64, len: u64, advice: fs::Advice) -> Fs<()> = fs::advise;
        "[method]descriptor.sync-data"(this: File) -> Fs<()> = fs::sync_data;
        "[method]descriptor.get-flags"(this: File) -> Fs<fs::DescriptorFlags> = fs::get_flags;
        "[method]descriptor.get-type"(this: File) -> Fs<fs::DescriptorType> = fs::get_type;
        "[method]descriptor.set-size"(this: File, size: u64) -> Fs<()> = fs::set_size;
        "[method]descriptor.set-times"(this: File, accessed: fs::NewTimestamp, modified: fs::NewTimestamp) -> Fs<()>
            = fs::set_times;
        "[method]descriptor.read"(this: File, len: u64, at: u64) -> Fs<(Buffer, bool)> = fs::read;
        "[method]descriptor.write"(this: File, buffer: Bytes, at: u64) -> Fs<u64> = fs::write;
        "[method]descriptor.read-directory"(this: File) -> Fs<Own<fs::DirectoryStream>> = fs::read_directory;
        "[method]descriptor.sync"(this: File) -> Fs<()> = fs::sync;
        "[method]descriptor.create-directory-at"(this: File, path: String) -> Fs<()> = fs::create_directory_at;
        "[method]descriptor.stat"(this: File) -> Fs<fs::DescriptorStat> = fs::stat;
        "[method]descriptor.stat-at"(this: File, flags: fs::PathFlags, path: String) -> Fs<fs::DescriptorStat>
            = fs::stat_at;
        "[method]descriptor.set-times-at"(
            this: File, flags: fs::PathFlags, path: String, accessed: fs::NewTimestamp, modified: fs::NewTimestamp
        ) -> Fs<()> = fs::set_times_at;
        "[method]descriptor.link-at"(this: File, flags: fs::PathFlags, from: String, other: File, to: String) -> Fs<()>
            = fs::link_at;
        "[method]descriptor.open-at"(
            this: File, path_flags: fs::PathFlags, path: String, open_flags: fs::OpenFlags, flags: fs::DescriptorFlags
        ) -> Fs<Own<fs::Descriptor>> = fs::open_at;
        "[method]descriptor.readlink-at"(this: File, path: String) -> Fs<String> = fs::readlink_at;
        "[method]descriptor.remove-directory-at"(this: File, path: String) -> Fs<()> = fs::remove_directory_at;
        "[method]descriptor.rename-at"(this: File, from: String, other: File, to: String) -> Fs<()> = fs::rename_at;
        "[method]descriptor.symlink-at"(this: File, target: String, path: String) -> Fs<()> = fs::symlink_at;
        "[method]descriptor.unlink-file-at"(this: File, path: String) -> Fs<()> = fs::unlink_file_at;
        "[method]descriptor.is-same-object"(this: File, other: File) -> bool = fs::is_same_object;
        "[method]descriptor.metadata-hash"(this: File) -> Fs<fs::MetadataHash> = fs::metadata_hash;
        "[method]descriptor.metadata-hash-at"(this: File, flags: fs::PathFlags, path: String) -> Fs<fs::MetadataHash>
            = fs::metadata_hash_at;
        "[method]directory-entry-stream.read-directory-entry"(this: Borrow<fs::DirectoryStream>)
            -> Fs<Option<fs::DirectoryEntry>> = fs::read_directory_entry;
        "filesystem-error-code"(error: Borrow<io::IoError>) -> Option<fs::ErrorCode> = fs::filesystem_error_code;
    }

    "wasi:io/error" { "[method]error.to-debug-string"(this: Borrow<io::IoError>) -> String = io::to_debug_string; }
    "wasi:io/poll" {
        "[method]pollable.ready"(this: Borrow<io::Pollable>) -> bool = io::ready;
        "[method]pollable.block"(this: Borrow<io::Pollable>) = io::block;
        "poll"(list: Vec<Borrow<io::Pollable>>) -> Vec<u32> = io::poll;
    }
    "wasi:io/streams" {
        "[method]input-stream.read"(this: Input, len: u64) -> Io<Buffer> = io::read;
        "[method]input-stream.blocking-read"(this: Input, len: u64) -> Io<Buffer> = io::blocking_read;
        "[method]input-stream.skip"(this: Input, len: u64) -> Io<u64> = io::skip;
        "[method]input-stream.blocking-skip"(this: Input, len: u64) -> Io<u64> = io::blocking_skip;
        "[method]input-stream.subscribe"(this: Input) -> Pollable = io::subscribe_input;
        "[method]output-stream.check-write"(this: Output) -> Io<u64> = io::check_write;
        "[method]output-stream.write"(this: Output, contents: Bytes) -> Io<()> = io::write;
        "[method]output-stream.blocking-write-and-flush"(this: Output, contents: Bytes) -> Io<()>
            = io::blocking_write_and_flush;
        "[method]output-stream.flush"(this: Output) -> Io<()> = io::flush;
        "[method]output-stream.blocking-flush"(this: Output) -> Io<()> = io::blocking_flush;
        "[method]output-stream.subscribe"(this: Output) -> Pollable = io::subscribe_output;
        "[method]output-stream.write-zeroes"(this: Output, len: u64) -> Io<()> = io::write_zeroes;
        "[method]output-stream.blocking-write-zeroes-and-flush"(this: Output, len: u64) -> Io<()>
            = io::blocking_write_zeroes_and_flush;
        "[method]output-stream.splice"(this: Output, from: Input, len: u64) -> Io<u64> = io::splice;
        "[method]output-stream.blocking-splice"(this: Output, from: Input, len: u64) -> Io<u64> = io::blocking_splice;
    }

    "wasi:random/random" {
        "get-random-bytes"(len: u64) -> Buffer = random::get_bytes;
        "get-random-u64"() -> u64 = random::get_u64;
    }
    "wasi:random/insecure" {
        "get-insecure-random-bytes"(len: u64) -> Buffer = random::get_bytes;
        "get-insecure-random-u64"() -> u64 = random::get_u64;
    }
    "wasi:random/insecure-seed" { "insecure-seed"() -> [u64; 2] = random::seed; }

    "wasi:sockets/network" {
        "network-error-code"(error: Borrow<io::IoError>) -> Option<net::ErrorCode> = net::network_error_code;
    }
    "wasi:sockets/instance-network" { "instance-network"() -> Own<net::Network> = net::instance_network; }
    "wasi:sockets/ip-name-lookup" {
        "resolve-addresses"(network: Net, name: String) -> Sock<Own<net::Lookup>> = net::resolve_addresses;
        "[method]resolve-address-stream.resolve-next-address"(this: Borrow<net::Lookup>)
            -> Sock<Option<std::net::IpAddr>> = net::resolve_next_address;
        "[method]resolve-address-stream.subscribe"(this: Borrow<net::Lookup>) -> Pollable = net::subscribe_lookup;
    }
    "wasi:sockets/tcp-create-socket" {
        "create-tcp-socket"(family: net::Family) -> Sock<Own<net::TcpSocket>> = net::create_tcp_socket;
    }
    "wasi:sockets/tcp" {
        "[method]tcp-socket.start-bind"(this: Tcp, network: Net, address: Address) -> Sock<()> = net::start_bind;
        "[method]tcp-socket.finish-bind"(this: Tcp) -> Sock<()> = net::finish_bind;
        "[method]tcp-socket.start-connect"(this: Tcp, network: Net, address: Address) -> Sock<()> = net::start_connect;
        "[method]tcp-socket.finish-connect"(this: Tcp) -> Sock<(Own<io::InputStream>, Own<io::OutputStream>)>
            = net::finish_connect;
        "[method]tcp-socket.start-listen"(this: Tcp) -> Sock<()> = net::start_listen;
        "[method]tcp-socket.finish-listen"(this: Tcp) -> Sock<()> = net::finish_listen;
        "[method]tcp-socket.accept"(this: Tcp)
            -> Sock<(Own<net::TcpSocket>, Own<io::InputStream>, Own<io::OutputStream>)> = net::accept;
        "[method]tcp-socket.local-address"(this: Tcp) -> Sock<Address> = net::local_address;
        "[method]tcp-socket.remote-address"(this: Tcp) -> Sock<Address> = net::remote_address;
        "[method]tcp-socket.is-listening"(this: Tcp) -> bool = net::is_listening;
        "[method]tcp-socket.address-family"(this: Tcp) -> net::Family = net::address_family;
        "[method]tcp-socket.set-listen-backlog-size"(this: Tcp, value: u64) -> Sock<()> = net::set_listen_backlog_size;
        "[method]tcp-socket.keep-alive-enabled"(this: Tcp) -> Sock<bool> = net::keep_alive_enabled;
        "[method]tcp-socket.set-keep-alive-enabled"(this: Tcp, value: bool) -> Sock<()> = net::set_keep_alive_enabled;
        "[method]tcp-socket.keep-alive-idle-time"(this: Tcp) -> Sock<u64> = net::keep_alive_idle_time;
        "[method]tcp-socket.set-keep-alive-idle-time"(this: Tcp, value: u64) -> Sock<()>
            = net::set_keep_alive_idle_time;
        "[method]tcp-socket.keep-alive-interval"(this: Tcp) -> Sock<u64> = net::keep_alive_interval;
        "[method]tcp-socket.set-keep-alive-interval"(this: Tcp, value: u64) -> Sock<()> = net::set_keep_alive_interval;
        "[method]tcp-socket.keep-alive-count"(this: Tcp) -> Sock<u32> = net::keep_alive_count;
        "[method]tcp-socket.set-keep-alive-count"(this: Tcp, value: u32) -> Sock<()> = net::set_keep_alive_count;
        "[method]tcp-socket.hop-limit"(this: Tcp) -> Sock<u8> = net::tcp_hop_limit;
        "[method]tcp-socket.set-hop-limit"(this: Tcp, value: u8) -> Sock<()> = net::set_tcp_hop_limit;
        "[method]tcp-socket.receive-buffer-size"(this: Tcp) -> Sock<u64> = net::tcp_receive_buffer_size;
        "[method]tcp-socket.set-receive-buffer-size"(this: Tcp, value: u64) -> Sock<()>
            = net::set_tcp_receive_buffer_size;
        "[method]tcp-socket.send-buffer-size"(this: Tcp) -> Sock<u64> = net::tcp_send_buffer_size;
        "[method]tcp-socket.set-send-buffer-size"(this: Tcp, value: u64) -> Sock<()> = net::set_tcp_send_buffer_size;
        "[method]tcp-socket.subscribe"(this: Tcp) -> Pollable = net::subscribe_tcp;
        "[method]tcp-socket.shutdown"(this: Tcp, how: net::ShutdownType) -> Sock<()> = net::shutdown;
    }
    "wasi:sockets/udp-create-socket" {
        "create-udp-socket"(family: net::Family) -> Sock<Own<net::UdpSocket>> = net::create_udp_socket;
    }
    "wasi:sockets/udp" {
        "[method]udp-socket.start-bind"(this: Udp, network: Net, address: Address) -> Sock<()> = net::udp_start_bind;
        "[method]udp-socket.finish-bind"(this: Udp) -> Sock<()> = net::udp_finish_bind;
        "[method]udp-socket.stream"(this: Udp, remote: Option<Address>)
            -> Sock<(Own<net::IncomingDatagrams>, Own<net::OutgoingDatagrams>)> = net::stream;
        "[method]udp-socket.local-address"(this: Udp) -> Sock<Address> = net::udp_local_address;
        "[method]udp-socket.remote-address"(this: Udp) -> Sock<Address> = net::udp_remote_address;
        "[method]udp-socket.address-family"(this: Udp) -> net::Family = net::udp_address_family;
        "[method]udp-socket.unicast-hop-limit"(this: Udp) -> Sock<u8> = net::udp_hop_limit;
        "[method]udp-socket.set-unicast-hop-limit"(this: Udp, value: u8) -> Sock<()> = net::set_udp_hop_limit;
        "[method]udp-socket.receive-buffer-size"(this: Udp) -> Sock<u64> = net::udp_receive_buffer_size;
        "[method]udp-socket.set-receive-buffer-size"(this: Udp, value: u64) -> Sock<()>
            = net::set_udp_receive_buffer_size;
        "[method]udp-socket.send-buffer-size"(this: Udp) -> Sock<u64> = net::udp_send_buffer_size;
        "[method]udp-socket.set-send-buffer-size"(this: Udp, value: u64) -> Sock<()> = net::set_udp_send_buffer_size;
        "[method]udp-socket.subscribe"(this: Udp) -> Pollable = net::subscribe_udp;
        "[method]incoming-datagram-stream.receive"(this: Borrow<net::IncomingDatagrams>, max: u64)
            -> Sock<Vec<net::ReceivedDatagram>> = net::receive;
        "[method]incoming-datagram-stream.subscribe"(this: Borrow<net::IncomingDatagrams>) -> Pollable
            = net::subscribe_incoming;
        "[method]outgoing-datagram-stream.check-send"(this: Borrow<net::OutgoingDatagrams>) -> Sock<u64>
            = net::check_send;
        "[method]outgoing-datagram-stream.send"(
            this: Borrow<net::OutgoingDatagrams>, datagrams: Vec<net::OutgoingDatagram>
        ) -> Sock<u64> = net::send;
        "[method]outgoing-datagram-stream.subscribe"(this: Borrow<net::OutgoingDatagrams>) -> Pollable
            = net::subscribe_outgoing;
    }

    "wasi:http/types" {
        "[constructor]fields"() -> Own<http::Fields> = http::fields::new;
        "[static]fields.from-list"(entries: Vec<(String, Bytes)>) -> Header<Own<http::Fields>> = http::fields::from_list;
        "[method]fields.get"(this: Fields, name: String) -> Vec<Buffer> = http::fields::get;
        "[method]fields.has"(this: Fields, name: String) -> bool = http::fields::has;
        "[method]fields.set"(this: Fields, name: String, value: Vec<Bytes>) -> Header<()> = http::fields::set;
        "[method]fields.delete"(this: Fields, name: String) -> Header<()> = http::fields::delete;
        "[method]fields.append"(this: Fields, name: String, value: Bytes) -> Header<()> = http::fields::append;
        "[method]fields.entries"(this: Fields) -> Vec<(String, Buffer)> = http::fields::entries;
        "[method]fields.clone"(this: Fields) -> Own<http::Fields> = http::fields::clone;
        "[method]incoming-request.method"(this: Borrow<http::IncomingRequest>) -> http::Method = http::incoming::method;
        "[method]incoming-request.path-with-query"(this: Borrow<http::IncomingRequest>) -> Option<String>
            = http::incoming::path_with_query;
        "[method]incoming-request.scheme"(this: Borrow<http::IncomingRequest>) -> Option<http::Scheme>
            = http::incoming::scheme;
        "[method]incoming-request.authority"(this: Borrow<http::IncomingRequest>) -> Option<String>
            = http::incoming::authority;
        "[method]incoming-request.headers"(this: Borrow<http::IncomingRequest>) -> Own<http::Fields>
            = http::incoming::request_headers;
        "[method]incoming-request.consume"(this: Borrow<http::IncomingRequest>) -> Plain<Own<http::IncomingBody>>
            = http::incoming::consume_request;
        "[constructor]outgoing-request"(headers: Own<http::Fields>) -> Own<http::OutgoingRequest> = http::request::new;
        "[method]outgoing-request.body"(this: Request) -> Plain<Own<http::OutgoingBody>> = http::request::body;
        "[method]outgoing-request.method"(this: Request) -> http::Method = http::request::method;
        "[method]outgoing-request.set-method"(this: Request, method: http::Method) -> Plain<()>
            = http::request::set_method;
        "[method]outgoing-request.path-with-query"(this: Request) -> Option<String> = http::request::path_with_query;
        "[method]outgoing-request.set-path-with-query"(this: Request, path: Option<String>) -> Plain<()>
            = http::request::set_path_with_query;
        "[method]outgoing-request.scheme"(this: Request) -> Option<http::Scheme> = http::request::scheme;
        "[method]outgoing-request.set-scheme"(this: Request, scheme: Option<http::Scheme>) -> Plain<()>
            = http::request::set_scheme;
        "[method]outgoing-request.authority"(this: Request) -> Option<String> = http::request::authority;
        "[method]outgoing-request.set-authority"(this: Request, authority: Option<String>) -> Plain<()>
            = http::request::set_authority;
        "[method]outgoing-request.headers"(this: Request) -> Own<http::Fields> = http::request::headers;
        "[constructor]request-options"() -> Own<http::RequestOptions> = http::request::new_options;
        "[method]request-options.connect-timeout"(this: Options) -> Option<u64> = http::request::connect_timeout;
        "[method]request-options.set-connect-timeout"(this: Options, duration: Option<u64>) -> Plain<()>
            = http::request::set_connect_timeout;
        "[method]request-options.first-byte-timeout"(this: Options) -> Option<u64> = http::request::first_byte_timeout;
        "[method]request-options.set-first-byte-timeout"(this: Options, duration: Option<u64>) -> Plain<()>
            = http::request::set_first_byte_timeout;
        "[method]request-options.between-bytes-timeout"(this: Options) -> Option<u64>
            = http::request::between_bytes_timeout;
        "[method]request-options.set-between-bytes-timeout"(this: Options, duration: Option<u64>) -> Plain<()>
            = http::request::set_between_bytes_timeout;
        "[static]response-outparam.set"(
            param: Own<http::ResponseOutparam>, response: Result<Own<http::OutgoingResponse>, http::ErrorCode>
        ) = http::outparam::set;
        "[method]incoming-response.status"(this: Borrow<http::IncomingResponse>) -> u16 = http::incoming::status;
        "[method]incoming-response.headers"(this: Borrow<http::IncomingResponse>) -> Own<http::Fields>
            = http::incoming::response_headers;
        "[method]incoming-response.consume"(this: Borrow<http::IncomingResponse>) -> Plain<Own<http::IncomingBody>>
            = http::incoming::consume_response;
        "[method]incoming-body.stream"(this: Borrow<http::IncomingBody>) -> Plain<Own<io::InputStream>>
            = http::body::stream;
        "[static]incoming-body.finish"(this: Own<http::IncomingBody>) -> Own<http::FutureTrailers>
            = http::body::finish_incoming;
        "[method]future-trailers.subscribe"(this: Borrow<http::FutureTrailers>) -> Pollable
            = http::incoming::subscribe_trailers;
        "[method]future-trailers.get"(this: Borrow<http::FutureTrailers>)
            -> Option<Plain<Result<Option<Own<http::Fields>>, http::ErrorCode>>> = http::incoming::get_trailers;
        "[constructor]outgoing-response"(headers: Own<http::Fields>) -> Own<http::OutgoingResponse>
            = http::response::new;
        "[method]outgoing-response.status-code"(this: Borrow<http::OutgoingResponse>) -> u16
            = http::response::status_code;
        "[method]outgoing-response.set-status-code"(this: Borrow<http::OutgoingResponse>, code: u16) -> Plain<()>
            = http::response::set_status_code;
        "[method]outgoing-response.headers"(this: Borrow<http::OutgoingResponse>) -> Own<http::Fields>
            = http::response::headers;
        "[method]outgoing-response.body"(this: Borrow<http::OutgoingResponse>) -> Plain<Own<http::OutgoingBody>>
            = http::response::body;
        "[method]outgoing-body.write"(this: Borrow<http::OutgoingBody>) -> Plain<Own<io::OutputStream>>
            = http::body::write;
        "[static]outgoing-body.finish"(this: Own<http::OutgoingBody>, trailers: Option<Own<http::Fields>>)
            -> Result<(), http::ErrorCode> = http::body::finish_outgoing;
        "[method]future-incoming-response.subscribe"(this: Borrow<http::FutureResponse>) -> Pollable
            = http::outgoing::subscribe;
        "[method]future-incoming-response.get"(this: Borrow<http::FutureResponse>)
            -> Option<Plain<Result<Own<http::IncomingResponse>, http::ErrorCode>>> = http::outgoing::get;
        "http-error-code"(error: Borrow<io::IoError>) -> Option<http::ErrorCode> = http::error::http_error_code;
    }
    "wasi:http/outgoing-handler" {
        "handle"(request: Own<http::OutgoingRequest>, options: Option<Own<http::RequestOptions>>)
            -> Result<Own<http::FutureResponse>, http::ErrorCode> = http::outgoing::handle;
    }
}
