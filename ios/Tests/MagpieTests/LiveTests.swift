import Foundation
import Magpie
import Testing

/// Live search: which frames are searched with, and a stable list. A gate that never opens hangs its test.
@Suite(.timeLimit(.minutes(5))) struct LiveTests {
    @Test func aSceneThatHoldsStillIsSearched() async throws {
        let camera = Camera(.grey(2))
        var updates = try await live(camera).makeAsyncIterator()
        #expect(try await updates.next() == .skipped(.dark))

        camera.show(.scene())
        // The gate waits for two more frames of the same scene.
        #expect(try await updates.next() == .skipped(.moving))
        #expect(try await updates.next() == .skipped(.moving))
        guard case .found(let results) = try await updates.next() else {
            Issue.record("a steady scene was passed over")
            return
        }
        let alone = try await Demo.engine.search(frame: camera.frame)
        #expect(results.listings == alone.listings)
        #expect(results.attributes == alone.attributes)

        // The scene is not searched again, and after the minimum interval the reason becomes `unchanged`.
        #expect(try await reasons(&updates, until: .unchanged).allSatisfy { $0 == .tooSoon })

        camera.show(.grey(128))
        #expect(try await reasons(&updates, until: .blurred).allSatisfy { $0 == .moving || $0 == .tooSoon })
        camera.end()
        #expect(try await updates.next() == nil)
    }

    @Test(arguments: [(PowerHint.saving, SkipReason.saving), (.hot, .hot)])
    func aPhoneThatSavesPowerOrIsHotSearchesLess(hint: PowerHint, reason: SkipReason) async throws {
        let scenes = [Picture.scene(), .scene(left: 0.25)]
        let camera = Camera(scenes[0])
        let settings = LiveSettings(minInterval: .milliseconds(200)) { hint }
        var updates = try await Demo.engine.live(camera, settings: settings).makeAsyncIterator()
        _ = try await found(&updates)
        var reasons: [SkipReason] = []
        var turn = 0
        // On a busy machine a frame may come so late that the longer interval is over too, which starts a search.
        while !reasons.contains(reason) {
            turn += 1
            camera.show(scenes[turn % 2])
            while !reasons.contains(reason), case .skipped(let other) = try await updates.next() {
                reasons.append(other)
            }
        }
        #expect(Set(reasons).isSubset(of: [reason, .tooSoon, .moving]))
    }

    @Test func theMarginDecidesHowStableTheListIs() async throws {
        // Cosines differ by at most 2, so with a margin of 2.1 the list never changes; with -1 it follows the scores.
        for (margin, isFirm) in [(Float(2.1), true), (-1, false)] {
            let camera = Camera(.scene())
            let settings = LiveSettings(minInterval: .milliseconds(50), margin: margin)
            var updates = try await Demo.engine.live(camera, settings: settings).makeAsyncIterator()
            let first = try await found(&updates).listings
            camera.show(.scene(left: 0.25))
            let second = try await found(&updates).listings
            let alone = try await Demo.engine.search(frame: camera.frame).listings
            #expect(first.map(\.id) != alone.map(\.id))
            if isFirm {
                #expect(second.map(\.id) == first.map(\.id))
            } else {
                // Ordered by score. A listing that was not found again may keep its place with its old score.
                #expect(second.map(\.score) == second.map(\.score).sorted(by: >))
                let again = second.map(\.id).filter(Set(alone.map(\.id)).contains)
                #expect(again == Array(alone.map(\.id).prefix(again.count)))
                #expect(second.map(\.id) != first.map(\.id))
            }
            // Listings that were found again have the score of the last search; the others are unchanged.
            for listing in second {
                let expected = alone.first { $0.id == listing.id } ?? first.first { $0.id == listing.id }
                #expect(listing == expected)
            }
        }
    }

    @Test func optionsCanDependOnTheFrame() async throws {
        let camera = Camera(.scene())
        let engine = try await Demo.engine
        let live = engine.live(camera, settings: LiveSettings(count: 3)) { frame in
            SearchOptions(
                filter: Filter.Column("category") == "Lamps",
                crop: Crop(CGRect(x: 0.25, y: 0.1, width: 0.5, height: 0.8), of: frame))
        }
        var updates = live.makeAsyncIterator()
        let listings = try await found(&updates).listings
        #expect(listings.count == 3 && listings.allSatisfy { $0["category"] == "Lamps" })
        let box = Crop(x: 80, y: 24, width: 160, height: 192)
        let options = SearchOptions(count: 3, filter: Filter.Column("category") == "Lamps", crop: box)
        #expect(try await engine.search(frame: camera.frame, options: options).listings == listings)
    }

    @Test func errorsAndCancellingEndALiveSearch() async throws {
        let camera = Camera(.scene())
        camera.break()
        var updates = try await live(camera).makeAsyncIterator()
        #expect(await failure { try await updates.next() }?.kind == .photo)

        let engine = try await Demo.open()
        var closed = engine.live(Camera(.scene())).makeAsyncIterator()
        engine.close()
        #expect(await failure { try await closed.next() } == .closed)

        let endless = Task {
            // A camera that never ends.
            for try await _ in try await Demo.engine.live(Camera(.scene())) {}
        }
        try await Task.sleep(for: .milliseconds(100))
        endless.cancel()
        #expect(await failure { try await endless.value } == .cancelled)
    }

    private func live(_ camera: Camera) async throws -> LiveSearch<Camera> {
        try await Demo.engine.live(camera, settings: LiveSettings(minInterval: .milliseconds(50)))
    }

    private func found(_ updates: inout LiveSearch<Camera>.Iterator) async throws -> SearchResults {
        while let update = try await updates.next() {
            if case .found(let results) = update { return results }
        }
        throw MagpieError.internal(reason: "the camera ended")
    }

    /// Collects the reasons for skipping frames until this one. No frame may be searched before it.
    private func reasons(
        _ updates: inout LiveSearch<Camera>.Iterator, until last: SkipReason
    ) async throws -> [SkipReason] {
        var reasons: [SkipReason] = []
        while case .skipped(let reason) = try await updates.next() {
            if reason == last { return reasons }
            reasons.append(reason)
        }
        throw MagpieError.internal(reason: "searched, or at the end, before \(last): \(reasons)")
    }
}

/// A camera that repeats the current picture until it is told to show another one.
private struct Camera: AsyncSequence, Sendable {
    typealias Element = Frame

    private let current: Setting<Frame?>

    init(_ picture: Picture) {
        current = Setting(Camera.frame(of: picture))
    }

    var frame: Frame { current.value ?? Camera.frame(of: .grey(0)) }

    func show(_ picture: Picture) { current.value = Camera.frame(of: picture) }

    func end() { current.value = nil }

    /// Shows frames that do not fit their planes.
    func `break`() { current.value?.width += 100 }

    func makeAsyncIterator() -> Iterator { Iterator(current: current) }

    struct Iterator: AsyncIteratorProtocol {
        fileprivate let current: Setting<Frame?>

        func next() async -> Frame? {
            // Continues after cancellation: the search must end it.
            try? await Task.sleep(for: .milliseconds(5))
            return current.value
        }
    }

    private static func frame(of picture: Picture) -> Frame {
        Frame(picture.nv12(.bt601Full), width: picture.width, height: picture.height)
    }
}

/// A value that a test changes while something else reads it.
private final class Setting<Value: Sendable>: @unchecked Sendable {
    private var stored: Value
    private let lock = NSLock()

    init(_ value: Value) { stored = value }

    var value: Value {
        get { lock.withLock { stored } }
        set { lock.withLock { stored = newValue } }
    }
}
