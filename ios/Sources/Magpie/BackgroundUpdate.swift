import Foundation

/// How an update in the background ended, as schedulers want to know it.
public enum BackgroundUpdate: Sendable, Hashable {
    /// The catalogue is what the server publishes now.
    case done
    /// Nothing has changed; it may help to try again, earlier than usual: the network, the server, space, or time.
    case later
    /// Nothing has changed, and it will not help to try again with this version of the app.
    case failed
}

extension Catalog {
    /// Updates without showing progress, for a task of the system's scheduler. Cancelling it loses nothing: the next
    /// update goes on from there.
    ///
    /// - Parameter report: Receives why an update failed, for the app's crash reports.
    public func updateInBackground(
        from server: ReleaseServer, trust: Trust, options: UpdateOptions = UpdateOptions(),
        report: @Sendable (MagpieError) -> Void = { _ in }
    ) async -> BackgroundUpdate {
        let (steps, task) = start(server, trust, options)
        do {
            var ended = BackgroundUpdate.later
            for try await progress in steps {
                if case .installed = progress { ended = .done }
            }
            // The system may suspend the app now: no file may be locked any more.
            await task.value
            return ended
        } catch {
            await task.value
            let error = MagpieError(error)
            report(error)
            switch error {
            case .download, .outdated, .busy, .noSpace, .file, .cancelled: return .later
            default: return .failed
            }
        }
    }
}

/// A file of a release.
public struct ReleaseFile: Sendable, Hashable {
    /// Where it is.
    public let url: URL
    /// Its name in a folder of ``DownloadedFiles``.
    public let name: String
    /// Its length in bytes.
    public let bytes: Int

    /// Creates a description, for example for an app's tests.
    public init(url: URL, name: String, bytes: Int) {
        self.url = url
        self.name = name
        self.bytes = bytes
    }
}

/// A transport for files that were downloaded in another way, such as by a `URLSession` in the background or by Background
/// Assets.
///
/// ```swift
/// let server = try ReleaseServer(url: url, transport: DownloadedFiles(in: folder))
/// ```
///
/// A release's file is read from the folder if it is there under its ``ReleaseFile/name``; all other requests go on to
/// another transport, and so do those for a file that turned out to be the wrong one. The update checks the bytes as if a
/// server had sent them. Remove the files after the update.
public struct DownloadedFiles: HTTPTransport {
    private let folder: URL
    private let otherwise: any HTTPTransport
    private let calls = Calls(width: 1)
    /// How far files have been read.
    private let ends = Locked<[String: UInt64]>([:])

    /// Reads from this folder, and sends all other requests with `otherwise`.
    public init(in folder: URL, otherwise: any HTTPTransport = URLSessionTransport()) {
        self.folder = folder
        self.otherwise = otherwise
    }

    /// Answers from the folder, or sends the request.
    public func send(_ request: HTTPRequest) async throws -> HTTPReply {
        let name = request.url.lastPathComponent
        if request.method == .get, name.wholeMatch(of: /[0-9a-f]{64}/) != nil,
            let range = request.headers["range"]?.wholeMatch(of: /bytes=(\d+)-(\d+)/),
            let begin = UInt64(range.1), let last = UInt64(range.2), begin <= last, isNew(name, begin, last)
        {
            let file = folder.appendingPathComponent(name)
            let count = Int(clamping: last - begin) + 1
            let body = try await calls.run { _ in Self.read(file, begin, count) }
            if let body {
                let end = begin + UInt64(body.count) - 1
                return HTTPReply(status: 206, contentRange: "bytes \(begin)-\(end)/*", body: body)
            }
        }
        return try await otherwise.send(request)
    }

    /// Whether a file is of use: an update asks again for what was wrong.
    private func isNew(_ name: String, _ begin: UInt64, _ last: UInt64) -> Bool {
        ends.change { ends in
            let isNew = begin >= ends[name, default: 0]
            ends[name] = isNew ? last : .max
            return isNew
        }
    }

    /// Returns bytes of a file; nil if it does not have them.
    private static func read(_ file: URL, _ begin: UInt64, _ count: Int) -> Data? {
        guard let open = try? FileHandle(forReadingFrom: file) else { return nil }
        defer { try? open.close() }
        guard (try? open.seek(toOffset: begin)) != nil, let body = try? open.read(upToCount: count) else { return nil }
        return body.isEmpty ? nil : body
    }
}
