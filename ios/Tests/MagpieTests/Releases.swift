import Foundation
import Magpie

/// Releases that `magpie publish` wrote, see `xtask/src/releases.rs`.
enum Releases {
    private static let folder = Demo.made.appendingPathComponent("releases")

    /// A base.
    static let first = folder.appendingPathComponent("first")
    /// A delta with another price of `mug-01`.
    static let second = folder.appendingPathComponent("second")
    /// The same, signed by a key that follows the shop's.
    static let rotated = folder.appendingPathComponent("rotated")
    /// A base of another model, which brings its pack.
    static let fast = folder.appendingPathComponent("fast")
    /// The model pack of `fast`, which a release of the default model does not fit.
    static let fastPack = Demo.repository.appendingPathComponent("models/packs/fast")

    static var trust: Trust { get throws { try trust("shop.key.pub") } }
    static var stranger: Trust { get throws { try trust("new.key.pub") } }

    static var options: UpdateOptions { UpdateOptions(model: Demo.model, patience: .seconds(30)) }

    /// The base of `first`.
    static var base: URL {
        get throws {
            let files = first.appendingPathComponent("files")
            let found = try FileManager.default.contentsOfDirectory(at: files, includingPropertiesForKeys: nil)
            guard let base = found.first, found.count == 1 else { throw Unexpected(what: "\(found)") }
            return base
        }
    }

    /// Length of the base in bytes.
    static var size: Int { get throws { try Data(contentsOf: base).count } }

    private static func trust(_ name: String) throws -> Trust {
        let text = try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
        return Trust(keys: [text.trimmingCharacters(in: .whitespacesAndNewlines)])
    }
}

/// A request to a ``ReleaseHost``.
struct ReleaseRequest: Sendable {
    let path: String
    /// The bytes that are asked for; nil for all.
    let range: ClosedRange<Int>?
    /// The file; nil if there is none.
    let file: Data?
    let connection: Connection
    fileprivate let counts: Counts

    fileprivate final class Counts: @unchecked Sendable {
        let lock = NSLock()
        var asked: [String] = []
        var sent = 0
    }

    var isPart: Bool { path.hasPrefix("files/") }

    /// How often this was asked before.
    var earlier: Int {
        counts.lock.withLock { counts.asked.filter { $0 == name }.count - 1 }
    }

    fileprivate var name: String {
        range.map { "\(path) \($0.lowerBound)-\($0.upperBound)" } ?? path
    }

    /// Sends the head of a response.
    func begin(_ status: Int, length: Int?, _ more: String = "") {
        let length = length.map { "content-length: \($0)\r\n" } ?? ""
        connection.say(Data("HTTP/1.1 \(status) Status\r\n\(more)\(length)connection: close\r\n\r\n".utf8))
    }

    /// Sends the file as a static web server does, or as many bytes of the body as `most` says, and then closes the
    /// connection. With `ranges` false, sends all of the file.
    func send(most: Int = .max, ranges: Bool = true) {
        guard let file else { return begin(404, length: 0) }
        var body = file
        if ranges, let range {
            guard range.lowerBound < file.count else { return begin(416, length: 0) }
            let last = min(range.upperBound, file.count - 1)
            body = file[range.lowerBound...last]
            begin(206, length: body.count, "content-range: bytes \(range.lowerBound)-\(last)/\(file.count)\r\n")
        } else {
            begin(200, length: body.count)
        }
        let sent = body.prefix(most)
        connection.say(Data(sent))
        if isPart { counts.lock.withLock { counts.sent += sent.count } }
    }
}

/// Serves a release, as a static web server does where `behave` does not say otherwise.
final class ReleaseHost {
    let url: URL
    private let server: BadServer
    private let counts: ReleaseRequest.Counts

    /// What was asked for: paths with ranges.
    var asked: [String] { counts.lock.withLock { counts.asked } }
    /// Bytes of files that were sent.
    var sent: Int { counts.lock.withLock { counts.sent } }

    init(_ release: URL, _ behave: @escaping @Sendable (ReleaseRequest) -> Void = { $0.send() }) throws {
        let counts = ReleaseRequest.Counts()
        self.counts = counts
        server = try BadServer { connection, _ in
            guard let line = connection.head.firstMatch(of: /^get \/release\/(\S+) http/) else { return }
            let path = String(line.1)
            let asked = connection.head.firstMatch(of: /\r\nrange: bytes=(\d+)-(\d+)/)
            let range = asked.flatMap { asked in Int(asked.1).flatMap { begin in Int(asked.2).map { begin...$0 } } }
            let file = try? Data(contentsOf: release.appendingPathComponent(path))
            let request = ReleaseRequest(
                path: path, range: range, file: file, connection: connection, counts: counts)
            counts.lock.withLock { counts.asked.append(request.name) }
            behave(request)
        }
        url = server.url.appendingPathComponent("release")
    }

    func stop() {
        server.stop()
    }

    deinit {
        stop()
    }
}

extension Catalog {
    /// Updates to what a server publishes, and returns all that was reported.
    func steps(_ host: ReleaseHost, _ options: UpdateOptions = Releases.options) async throws -> [UpdateProgress] {
        var steps: [UpdateProgress] = []
        let server = try ReleaseServer(url: host.url)
        for try await step in try update(from: server, trust: Releases.trust, options: options) { steps.append(step) }
        return steps
    }

    /// Updates to what a server publishes, and returns how that ended.
    func update(
        _ host: ReleaseHost, _ options: UpdateOptions = Releases.options, trust: Trust? = nil
    ) async throws -> UpdateProgress {
        var last: UpdateProgress?
        let (server, trust) = (try ReleaseServer(url: host.url), try trust ?? Releases.trust)
        for try await step in update(from: server, trust: trust, options: options) { last = step }
        guard let last else { throw Unexpected(what: "nothing was reported") }
        return last
    }

    /// Updates to a release, and returns what is installed then.
    @discardableResult
    func update(_ release: URL, _ options: UpdateOptions = Releases.options) async throws -> InstalledCatalog {
        let host = try ReleaseHost(release)
        let ended = try await update(host, options)
        host.stop()
        guard case .installed(let catalog, _) = ended else { throw Unexpected(what: "\(ended)") }
        return catalog
    }
}

extension UpdateProgress {
    /// Bytes received, while files are downloaded.
    var received: Int? {
        if case .downloading(let received, _) = self { received } else { nil }
    }

    /// Bytes to receive, while files are downloaded.
    var total: Int? {
        if case .downloading(_, let total) = self { total } else { nil }
    }

    /// What is installed, if it is new.
    var new: InstalledCatalog? {
        if case .installed(let catalog, isNew: true) = self { catalog } else { nil }
    }
}
