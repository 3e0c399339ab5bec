import Foundation
import Magpie
import Testing

/// Cancelling, closing, and many concurrent tasks. A call that does not end hangs its test: hence the time limit.
@Suite(.timeLimit(.minutes(5))) struct ConcurrencyTests {
    /// Longer than any test waits: only cancelling ends it.
    private let forever = 50_000_000

    @Test func cancellingATaskStopsItsCall() async throws {
        let engine = try await Demo.open()
        let photo = try Demo.query("mug-01")
        let task = Task { try await engine.benchmark(photo: photo, runs: forever) }
        try await Task.sleep(for: .milliseconds(100))
        task.cancel()
        #expect(await failure { try await task.value } == .cancelled)
        // The engine still works.
        #expect(try await engine.search(photo: photo).listings.first?.id == "mug-01")
    }

    @Test func aCancelledTaskStartsNoCall() async throws {
        let engine = try await Demo.open()
        let photo = try Demo.query("mug-01")
        let scene = Picture.scene()
        let frame = Frame(.bgra(scene.packed(isBGRA: true)), width: scene.width, height: scene.height)
        let task = Task {
            while !Task.isCancelled { await Task.yield() }
            return [
                await failure { try await engine.search(photo: photo) },
                await failure { try await engine.embedding(of: photo) },
                await failure { try await engine.search(frame: frame) },
                await failure { try await engine.embedding(of: frame) },
                await failure { try await engine.moreLike(listing: "mug-01") },
                await failure { try await engine.words(of: "category") },
                await failure { try await engine.thumbnail(ofListing: "mug-01", photo: "mug-01-1.jpg") },
                await failure { try await engine.benchmark(photo: photo, runs: forever) },
                await failure { try await Demo.open() },
            ]
        }
        task.cancel()
        for error in await task.value { #expect(error == .cancelled) }
    }

    @Test func callsWaitForTheirTurn() async throws {
        let engine = try await Demo.open(OpenOptions(concurrentCalls: 1))
        let photo = try Demo.query("mug-01")
        let first = Task { try await engine.benchmark(photo: photo, runs: forever) }
        try await Task.sleep(for: .milliseconds(50))
        let ended = Flag()
        let second = Task {
            defer { ended.set() }
            return try await engine.search(photo: photo)
        }
        try await Task.sleep(for: .milliseconds(200))
        #expect(!ended.isSet)
        first.cancel()
        #expect(try await second.value.listings.first?.id == "mug-01")
        #expect(await failure { try await first.value } == .cancelled)
    }

    /// Tasks share about as many threads as there are cores; blocking calls must not take them.
    @Test func callsDoNotBlockTheThreadsOfOtherTasks() async throws {
        let width = 2 * ProcessInfo.processInfo.activeProcessorCount + 2
        let engine = try await Demo.open(OpenOptions(concurrentCalls: width))
        let photo = try Demo.query("mug-01")
        let calls = (0..<width).map { _ in Task { try await engine.benchmark(photo: photo, runs: forever) } }
        try await Task.sleep(for: .milliseconds(200))
        // If calls blocked the shared threads, these would wait forever.
        let others = (0..<width).map { number in Task.detached { number } }
        var sum = 0
        for other in others { sum += await other.value }
        #expect(sum == width * (width - 1) / 2)
        for call in calls { call.cancel() }
        for call in calls { #expect(await failure { try await call.value } == .cancelled) }
    }

    @Test func closingWhileCallsRun() async throws {
        let folder = try Demo.folder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let catalog = folder.appendingPathComponent("closing.magpie")
        try FileManager.default.copyItem(at: Demo.catalog, to: catalog)
        let engine = try await Engine.open(model: Demo.model, catalog: catalog)
        #expect(try isMapped(catalog) != false)
        let photo = try Demo.query("mug-01")

        let long = Task { try await engine.benchmark(photo: photo, runs: forever) }
        let calls = (0..<8).map { _ in Task { try await engine.search(photo: photo).listings } }
        let expected = try await engine.search(photo: photo).listings
        engine.close()
        engine.close()
        for call in calls {
            // Calls that started before the closing finish normally.
            switch await call.result {
            case .success(let listings): #expect(listings == expected)
            case .failure(let error): #expect(error as? MagpieError == .closed)
            }
        }
        #expect(await failure { try await engine.search(photo: photo) } == .closed)
        #expect(await failure { try await engine.words(of: "category") } == .closed)
        #expect(engine.info.listings == 128)

        // The last call keeps the catalogue mapped, and unmaps it when it ends.
        #expect(try isMapped(catalog) != false)
        long.cancel()
        #expect(await failure { try await long.value } == .cancelled)
        try await eventually { try isMapped(catalog) != true }
    }

    @Test func anUnreferencedEngineIsClosed() async throws {
        let folder = try Demo.folder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let catalog = folder.appendingPathComponent("dropped.magpie")
        try FileManager.default.copyItem(at: Demo.catalog, to: catalog)
        let photo = try Demo.query("mug-01")
        let call: Task<[Listing], any Error>
        do {
            let engine = try await Engine.open(model: Demo.model, catalog: catalog)
            call = Task { try await engine.search(photo: photo).listings }
        }
        #expect(try await call.value.first?.id == "mug-01")
        try await eventually { try isMapped(catalog) != true }
    }

    /// `MAGPIE_TEST_SECONDS` sets the duration; the default is 5.
    @Test func eightTasksAtOnce() async throws {
        let seconds = ProcessInfo.processInfo.environment["MAGPIE_TEST_SECONDS"].flatMap(Double.init) ?? 5
        let engine = try await Demo.open(OpenOptions(concurrentCalls: 8))
        let names = try Demo.queries().enumerated().filter { $0.offset % 16 == 0 }.map(\.element)
        #expect(names.count == 8)
        var expected: [[Listing]] = []
        for name in names { expected.append(try await engine.search(photo: Demo.query(name)).listings) }
        let photos = try names.map(Demo.query)
        let answers = expected
        let end = ContinuousClock.now + .seconds(seconds)
        let searches = try await withThrowingTaskGroup(of: Int.self) { group in
            for first in names.indices {
                group.addTask {
                    var searches = 0
                    while ContinuousClock.now < end || searches == 0 {
                        let at = (first + searches) % photos.count
                        let found = try await engine.search(photo: photos[at]).listings
                        #expect(found == answers[at])
                        searches += 1
                    }
                    return searches
                }
            }
            return try await group.reduce(0, +)
        }
        report("eight tasks at once: \(searches) searches in \(seconds) s")
        #expect(searches >= 8)
    }

    /// Whether the process has the file mapped; nil if the system does not report it.
    private func isMapped(_ file: URL) throws -> Bool? {
        // Files in /proc report a size of zero, so read to the end.
        guard let maps = try FileHandle(forReadingAtPath: "/proc/self/maps")?.readToEnd() else { return nil }
        return String(decoding: maps, as: UTF8.self).contains(file.path)
    }

    /// The thread of the last call releases its reference a moment after the call has returned.
    private func eventually(_ holds: () throws -> Bool) async throws {
        while try !holds() { try await Task.sleep(for: .milliseconds(10)) }
    }
}

private final class Flag: @unchecked Sendable {
    private var flag = false
    private let lock = NSLock()

    var isSet: Bool { lock.withLock { flag } }

    func set() {
        lock.withLock { flag = true }
    }
}
