import Foundation
import Magpie
import Testing

/// Log lines reach the host and contain nothing about shoppers.
@Suite(.serialized) struct LoggingTests {
    @Test func linesReachTheSink() async throws {
        let lines = Lines()
        #expect(MagpieLog.start(.info) { line in lines.add(line) })
        defer { MagpieLog.stop() }
        let missing = Demo.made.appendingPathComponent("missing-\(UUID().uuidString)")
        _ = await failure { try await Engine.verify(catalog: missing) }
        let line = try #require(lines.all.first { $0.text.contains(missing.lastPathComponent) })
        #expect(line.level == .error && line.module.hasPrefix("magpie"))

        _ = try await Demo.open()
        #expect(lines.all.contains { $0.level == .info && $0.text.contains("128 listings") })

        MagpieLog.stop()
        let later = Demo.made.appendingPathComponent("missing-\(UUID().uuidString)")
        _ = await failure { try await Engine.verify(catalog: later) }
        #expect(!lines.all.contains { $0.text.contains(later.lastPathComponent) })
    }

    @Test func userInputIsNotLogged() async throws {
        let lines = Lines()
        MagpieLog.start(.debug) { line in lines.add(line) }
        defer { MagpieLog.stop() }
        let typed = "typed-\(UUID().uuidString)"
        let filter = Filter.Column(typed) == typed
        let error = await failure {
            try await Demo.engine.search(photo: Demo.query("mug-01"), options: SearchOptions(filter: filter))
        }
        // The app gets the reason; the log does not.
        #expect(error?.kind == .request)
        let reason = error?.reason ?? ""
        #expect(reason.contains(typed))
        #expect(lines.all.contains { $0.text.contains("the request was refused") })
        #expect(!lines.all.contains { $0.text.contains(typed) })
    }
}

private final class Lines: @unchecked Sendable {
    private var lines: [MagpieLog.Line] = []
    private let lock = NSLock()

    var all: [MagpieLog.Line] { lock.withLock { lines } }

    func add(_ line: MagpieLog.Line) {
        lock.withLock { lines.append(line) }
    }
}
