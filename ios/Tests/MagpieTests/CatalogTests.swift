import Foundation
import Magpie
import Testing

/// A catalogue is installed, updated, and searched, from releases that `magpie publish` wrote.
@Suite(.timeLimit(.minutes(5))) final class CatalogTests {
    private let root: URL
    private let catalog: Catalog

    init() async throws {
        root = try Demo.folder()
        catalog = try await Catalog.open(at: root.appendingPathComponent("catalog"))
    }

    deinit {
        try? FileManager.default.removeItem(at: root)
    }

    private func open(_ model: URL = Demo.model, bundled: URL? = nil) async throws -> Engine {
        try await Engine.open(model: model, catalog: catalog, bundled: bundled)
    }

    /// Id and price of the first listing.
    private func best(_ engine: Engine) async throws -> [String?] {
        let listing = try await engine.search(photo: try Demo.photo("mug-01-1")).listings.first
        return [listing?.id, listing?["price"]]
    }

    private let (before, after) = (["mug-01", "18.00"], ["mug-01", "15.00"])

    @Test func anOpenEngineChangesToTheNewPriceAndADeltaIsAllThatIsDownloaded() async throws {
        #expect(try await catalog.current == nil)
        #expect(await failure { try await self.open() }?.kind == .catalog)
        let first = try await catalog.update(Releases.first)
        #expect(first.name == "demo" && first.sequence == 1 && first.deltas == 0 && first.expires > Date())
        #expect(try await catalog.current == first)
        let engine = try await open()
        #expect(try await best(engine) == before)
        #expect(engine.installed == first)

        let host = try ReleaseHost(Releases.second)
        let steps = try await catalog.steps(host)
        let second = try #require(steps.last?.new)
        // A slow reader misses some steps.
        #expect(steps.allSatisfy { [nil, host.sent].contains($0.total) && $0.received ?? 0 <= host.sent })
        let base = try Releases.base.lastPathComponent
        #expect(!host.asked.contains { $0.contains(base) }, "\(host.asked)")
        #expect(second.sequence == 2 && second.deltas == 1)
        #expect(try await best(engine) == before)
        #expect(try await engine.replaceCatalog(with: catalog) == second)
        #expect(engine.installed == second)
        #expect(try await best(engine) == after)
        #expect(try await catalog.verify(trust: Releases.trust) == second)
        // Again: there is nothing to do but to look.
        let sent = host.sent
        #expect(try await catalog.update(host) == .installed(second, isNew: false))
        #expect(host.sent == sent)
    }

    @Test func searchesRunWhileTheCatalogueChanges() async throws {
        try await catalog.update(Releases.first)
        let (engine, photo) = (try await open(), try Demo.photo("mug-01-1"))
        let searches = Task {
            var prices: [String] = []
            while !Task.isCancelled {
                let listing = try await engine.search(photo: photo).listings.first
                prices.append(listing?["price"] ?? "none")
                guard prices.last != "15.00" else { break }
            }
            return prices
        }
        try await catalog.update(Releases.second)
        try await engine.replaceCatalog(with: catalog)
        let prices = try await searches.value
        #expect(prices.last == "15.00" && prices.dropLast().allSatisfy { $0 == "18.00" }, "\(prices)")
        #expect(engine.installed?.sequence == 2)
    }

    @Test func anUpdateThatIsCancelledGoesOnWhereItStopped() async throws {
        let size = try Releases.size
        var options = Releases.options
        options.pieceBytes = size / 4 + 1
        let half = 2 * options.pieceBytes
        // Sends half of the base and then waits.
        let slow = try ReleaseHost(Releases.first) { request in
            request.range?.lowerBound == half ? request.connection.waitForTheEnd() : request.send()
        }
        for try await step in try catalog.update(
            from: ReleaseServer(url: slow.url), trust: Releases.trust, options: options)
        where step.received == half {
            break
        }
        #expect(try await catalog.current == nil)
        let host = try ReleaseHost(Releases.first)
        let steps = try await catalog.steps(host, options)
        #expect(steps.last?.new?.sequence == 1 && steps.allSatisfy { [nil, size - half].contains($0.total) })
        #expect(host.sent == size - half, "\(host.asked)")
        try await catalog.verify(trust: Releases.trust)
    }

    @Test func newKeysAreFollowedAndStayTrusted() async throws {
        try await catalog.update(Releases.second)
        #expect(try await catalog.update(Releases.rotated).sequence == 3)
        #expect(try await catalog.verify(trust: Releases.trust).sequence == 3)
        let host = try ReleaseHost(Releases.rotated)
        _ = try await catalog.update(host)
        #expect(!host.asked.contains { $0.hasPrefix("keys") }, "\(host.asked)")
        // The old key is of no use any more.
        #expect(await failure { try await self.catalog.update(Releases.second) }?.kind == .untrusted)
    }

    @Test func anotherModelComesWithItsCatalogueAndNeedsANewEngine() async throws {
        try await catalog.update(Releases.second)
        let engine = try await open()
        #expect(try await catalog.update(Releases.fast).hasPack)
        #expect(await failure { try await engine.replaceCatalog(with: self.catalog) }?.kind == .otherModel)
        #expect(try await best(engine) == after)
        let other = try await open()
        #expect(other.info.modelID != engine.info.modelID)
        #expect(try await best(other) == after)
    }

    @Test func theBundledBaseIsSearchedFirstAndIsNotDownloaded() async throws {
        let base = try Releases.base
        let engine = try await open(bundled: base)
        #expect(try await best(engine) == before)
        #expect(engine.installed == nil)
        let host = try ReleaseHost(Releases.second)
        var options = Releases.options
        options.bundled = base
        #expect(try await catalog.update(host, options).new?.sequence == 2)
        #expect(!host.asked.contains { $0.contains(base.lastPathComponent) }, "\(host.asked)")
        try await engine.replaceCatalog(with: catalog)
        #expect(try await best(engine) == after)
        #expect(engine.info.catalog == "demo" && engine.installed?.sequence == 2)
    }

    @Test func aLargeDownloadWaitsForAnUnmeteredNetworkAndAnyForANetwork() async throws {
        let (host, size) = (try ReleaseHost(Releases.first), try Releases.size)
        var options = Releases.options
        options.connectivity = { .metered }
        options.mostMeteredBytes = size - 1
        #expect(try await catalog.steps(host, options) == [.postponed(bytes: size)])
        #expect(host.asked == ["manifest"])
        options.connectivity = { .offline }
        #expect(try await catalog.update(host, options) == .postponed(bytes: 0))
        #expect(host.asked.count == 1)
        options.connectivity = { .metered }
        options.mostMeteredBytes = size
        #expect(try await catalog.update(host, options).new?.sequence == 1)
    }

    @Test func spaceIsAskedForBeforeAnythingIsDownloaded() async throws {
        let host = try ReleaseHost(Releases.first)
        var greedy = Releases.options
        greedy.keepFree = .max
        #expect(await failure { try await self.catalog.update(host, greedy) }?.kind == .noSpace)
        #expect(host.asked == ["manifest"])
    }

    @Test func damageIsFoundAndRepaired() async throws {
        try await catalog.update(Releases.first)
        let base = try Releases.base.lastPathComponent
        let file = catalog.folder.appendingPathComponent("files").appendingPathComponent(base)
        var bytes = try Data(contentsOf: file)
        bytes[bytes.count - 1] ^= 1
        try bytes.write(to: file)
        #expect(await failure { try await self.catalog.verify() }?.kind == .catalog)
        var options = Releases.options
        options.repair = true
        try await catalog.update(Releases.first, options)
        #expect(try await catalog.verify().sequence == 1)
    }

    @Test func filesThatWereDownloadedInAnotherWayAreNotAskedFor() async throws {
        let host = try ReleaseHost(Releases.first)
        let (plain, size) = (try ReleaseServer(url: host.url), try Releases.size)
        let file = try await catalog.nextFile(from: plain, trust: Releases.trust, options: Releases.options)
        let next = try #require(file)
        #expect(next.bytes == size && next.url == host.url.appendingPathComponent("files/\(next.name)"))
        let folder = root.appendingPathComponent("downloaded")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try FileManager.default.copyItem(at: Releases.base, to: folder.appendingPathComponent(next.name))
        let server = try ReleaseServer(url: host.url, transport: DownloadedFiles(in: folder))
        var options = Releases.options
        options.pieceBytes = 10_000
        #expect(try await catalog.updateInBackground(from: server, trust: Releases.trust, options: options) == .done)
        #expect(host.sent == 0 && host.asked == ["manifest", "manifest"])
        #expect(try await catalog.nextFile(from: plain, trust: Releases.trust, options: options) == nil)
        try await catalog.verify(trust: Releases.trust)
    }

    @Test func aWrongFileThatWasDownloadedIsAskedForAgain() async throws {
        let (host, size, name) = (
            try ReleaseHost(Releases.first), try Releases.size, try Releases.base.lastPathComponent
        )
        let folder = root.appendingPathComponent("downloaded")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data(count: size).write(to: folder.appendingPathComponent(name))
        let server = try ReleaseServer(url: host.url, transport: DownloadedFiles(in: folder))
        #expect(await catalog.updateInBackground(from: server, trust: try Releases.trust) == .done)
        #expect(host.sent == size)
        try await catalog.verify(trust: Releases.trust)
    }

    @Test func updatesInTheBackgroundSayWhetherToTryAgain() async throws {
        let host = try ReleaseHost(Releases.first)
        let (server, trust) = (try ReleaseServer(url: host.url), try Releases.trust)
        var offline = Releases.options
        offline.connectivity = { .offline }
        #expect(await catalog.updateInBackground(from: server, trust: trust, options: offline) == .later)
        #expect(await catalog.updateInBackground(from: server, trust: try Releases.stranger) == .failed)
        #expect(await catalog.updateInBackground(from: server, trust: trust) == .done)
        host.stop()
        #expect(await catalog.updateInBackground(from: server, trust: trust) == .later)
    }
}
