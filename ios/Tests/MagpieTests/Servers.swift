import Foundation
import Magpie

#if canImport(Glibc)
import Glibc
#else
import Darwin
#endif

/// A `magpie-server` in its own process, on a free port, until it is stopped.
final class RealServer {
    let url: URL
    private let process = Process()

    init(shard: URL, _ settings: String...) async throws {
        let folder = ProcessInfo.processInfo.environment["MAGPIE_LIBRARY"].map(URL.init(fileURLWithPath:))
        let programs = folder ?? Demo.repository.appendingPathComponent("target/debug")
        process.executableURL = programs.appendingPathComponent("magpie-server")
        // The tests share the machine, so a search may have to wait for a thread.
        let usual = ["--listen", "127.0.0.1:0", "--linger-ms", "0", "--max-wait-ms", "5000", "--log-json"]
        process.arguments = ["--shards", shard.path] + usual + settings
        // A file, because a pipe that nobody reads would fill up.
        let log = FileManager.default.temporaryDirectory.appendingPathComponent("magpie-\(UUID().uuidString).log")
        try Data().write(to: log)
        defer { try? FileManager.default.removeItem(at: log) }
        process.standardError = try FileHandle(forWritingTo: log)
        try process.run()
        let end = Date(timeIntervalSinceNow: 30)
        var text = ""
        while !text.contains("\"serving\"") || !text.hasSuffix("\n") {
            guard Date() < end else { throw Unexpected(what: "the server printed \(text)") }
            try await Task.sleep(for: .milliseconds(10))
            text = String(decoding: try Data(contentsOf: log), as: UTF8.self)
        }
        guard let address = text.firstMatch(of: /127\.0\.0\.1:\d+/), let url = URL(string: "http://\(address.0)") else {
            throw Unexpected(what: "the server printed \(text)")
        }
        self.url = url
    }

    func stop() {
        // Not SIGTERM: the threads that tasks share block other signals, and child processes inherit that.
        kill(process.processIdentifier, SIGKILL)
    }
}

struct Unexpected: Error {
    let what: String
}

/// A connection to a ``BadServer``.
struct Connection: Sendable {
    /// Head of the request, in lower case; empty if it was not read.
    var head = ""
    fileprivate let socket: Int32

    fileprivate init(socket: Int32) {
        self.socket = socket
    }

    /// Sends the bytes. Returns false if the other side has closed the connection.
    @discardableResult
    func say(_ bytes: Data) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes { send(socket, $0.baseAddress, $0.count, noSignal) }
            guard sent > 0 else { return false }
            rest = rest.dropFirst(sent)
        }
        return true
    }

    @discardableResult
    func say(status: Int, _ body: String = "", more: String = "") -> Bool {
        say(Data("HTTP/1.1 \(status) Status\r\n\(more)content-length: \(body.utf8.count)\r\n\r\n\(body)".utf8))
    }

    /// Waits until the other side closes the connection.
    func waitForTheEnd() {
        while read() != nil {}
    }

    /// Makes closing this connection send a reset.
    func reset() {
        var now = linger(l_onoff: 1, l_linger: 0)
        setsockopt(socket, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
    }

    /// Reads a request and returns its head, or nil if there is none.
    fileprivate func request() -> String? {
        var text = ""
        while true {
            guard let more = read() else { return nil }
            text += String(decoding: more, as: UTF8.self)
            guard let end = text.range(of: "\r\n\r\n") else { continue }
            let head = text[..<end.lowerBound].lowercased()
            let length = head.firstMatch(of: /content-length: (\d+)/).flatMap { Int($0.1) } ?? 0
            if text[end.upperBound...].utf8.count >= length { return head }
        }
    }

    private func read() -> Data? {
        var bytes = Data(count: 1 << 14)
        let count = bytes.withUnsafeMutableBytes { recv(socket, $0.baseAddress, $0.count, 0) }
        return count > 0 ? bytes.prefix(count) : nil
    }
}

/// A server that runs `behave` for each connection, after reading the request or at once, until it is stopped.
final class BadServer {
    let url: URL
    private let listener: Int32
    private let seen = Seen()

    /// Heads of the received requests, in lower case.
    var heads: [String] { seen.lock.withLock { seen.heads } }
    /// Number of closed connections.
    var ended: Int { seen.lock.withLock { seen.ended } }

    private final class Seen: @unchecked Sendable {
        let lock = NSLock()
        var connections = 0
        var heads: [String] = []
        var ended = 0
    }

    init(reads: Bool = true, _ behave: @escaping @Sendable (Connection, Int) -> Void) throws {
        let listener = try Self.listen()
        self.listener = listener
        url = try Self.url(of: listener)
        Thread.detachNewThread { [seen] in
            while true {
                let socket = accept(listener, nil, nil)
                guard socket >= 0 else { return }
                let number = seen.lock.withLock { () -> Int in
                    seen.connections += 1
                    return seen.connections - 1
                }
                Thread.detachNewThread {
                    var connection = Connection(socket: socket)
                    let head = reads ? connection.request() : ""
                    if let head {
                        connection.head = head
                        seen.lock.withLock { seen.heads.append(head) }
                        behave(connection, number)
                    }
                    close(socket)
                    seen.lock.withLock { seen.ended += 1 }
                }
            }
        }
    }

    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    /// Returns a URL that nothing listens on.
    static func nobody() throws -> URL {
        let listener = try listen()
        defer { close(listener) }
        return try url(of: listener)
    }

    private static func listen() throws -> Int32 {
        let listener = socket(AF_INET, stream, 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        let length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, length) }
        }
        guard bound == 0, Self.open(listener) == 0 else { throw Unexpected(what: "no port is free") }
        return listener
    }

    private static func open(_ listener: Int32) -> Int32 {
        #if canImport(Glibc)
        Glibc.listen(listener, 50)
        #else
        Darwin.listen(listener, 50)
        #endif
    }

    private static func url(of listener: Int32) throws -> URL {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(listener, $0, &length) }
        }
        guard let url = URL(string: "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))") else {
            throw Unexpected(what: "no URL")
        }
        return url
    }
}

#if canImport(Glibc)
private let stream = Int32(SOCK_STREAM.rawValue)
private let noSignal = Int32(MSG_NOSIGNAL)
#else
private let stream = SOCK_STREAM
/// On Apple's systems the test process has to ignore SIGPIPE.
private let noSignal: Int32 = 0
#endif
