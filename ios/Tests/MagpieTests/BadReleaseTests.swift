import Foundation
import Magpie
import Testing

/// Whatever a server does, what is installed stays, and an update from a good server ends well afterwards.
@Suite(.timeLimit(.minutes(5))) final class BadReleaseTests {
    private let root: URL
    private let catalog: Catalog
    private let size: Int
    private let base: String

    init() async throws {
        root = try Demo.folder()
        catalog = try await Catalog.open(at: root.appendingPathComponent("catalog"))
        size = try Releases.size
        base = "files/\(try Releases.base.lastPathComponent)"
    }

    deinit {
        try? FileManager.default.removeItem(at: root)
    }

    /// Answers the requests for files.
    private func host(
        _ release: URL = Releases.first, _ behave: @escaping @Sendable (ReleaseRequest) -> Void
    ) throws -> ReleaseHost {
        try ReleaseHost(release) { $0.isPart ? behave($0) : $0.send() }
    }

    /// An update fails; returns why, if that is a `download` error.
    private func download(_ host: ReleaseHost, _ options: UpdateOptions = Releases.options) async -> String {
        let error = await failure { try await self.catalog.update(host, options) }
        #expect(error?.kind == .download, "\(String(describing: error))")
        return error?.reason ?? ""
    }

    private func aGoodServerHelps() async throws {
        try await catalog.update(Releases.second)
        #expect(try await catalog.verify(trust: Releases.trust).sequence == 2)
    }

    @Test func connectionsThatAreCutInEveryTenthOfAFile() async throws {
        var options = Releases.options
        options.pieceBytes = size / 10 + 1
        let tenth = options.pieceBytes
        let host = try host { $0.send(most: $0.earlier == 0 ? tenth / 2 : .max) }
        let steps = try await catalog.steps(host, options)
        #expect(steps.last?.new != nil)
        let ranges = (0..<10).map { "\(base) \($0 * tenth)-\(min(($0 + 1) * tenth, size) - 1)" }
        #expect(Array(host.asked.dropFirst()) == ranges.flatMap { [$0, $0] })
        #expect(steps.compactMap(\.received).allSatisfy { $0 <= size })
        let always = try ReleaseHost(Releases.second) { $0.send(most: $0.isPart ? 10 : .max) }
        #expect(await download(always).contains("broke"))
        #expect(always.asked.count == 4)
        #expect(try await catalog.current?.sequence == 1)
        try await aGoodServerHelps()
    }

    @Test func aServerThatStopsToKnowRangesBeginsTheFileAnew() async throws {
        var options = Releases.options
        options.pieceBytes = size / 2
        let host = try host { $0.send(ranges: $0.range?.lowerBound == 0) }
        let steps = try await catalog.steps(host, options)
        #expect(steps.last?.new != nil)
        #expect(host.sent == size / 2 + size)
        #expect(steps.compactMap(\.received).allSatisfy { (0...self.size).contains($0) })
        try await aGoodServerHelps()
    }

    @Test func wrongBytesAndOtherLengths() async throws {
        let size = size
        let wrong = try host { request in
            request.begin(200, length: size)
            request.connection.say(Data(count: size))
        }
        #expect(await download(wrong).contains("hash"))
        #expect(wrong.asked.count == 4)
        let short = try host { request in
            request.begin(200, length: 3)
            request.connection.say(Data(count: 3))
        }
        #expect(await download(short).contains("same bytes"))
        let empty = try host { $0.begin(206, length: 0) }
        #expect(await download(empty).contains("no bytes"))
        let long = try host { request in
            request.begin(200, length: size + 1)
            request.connection.say(Data(count: size + 1))
        }
        #expect(await download(long).contains("more than"))
        let elsewhere = try host { request in
            request.begin(206, length: 3, "content-range: bytes 7-9/\(size)\r\n")
            request.connection.say(Data(count: 3))
        }
        #expect(await download(elsewhere).contains("bytes from 7"))
        #expect(try await catalog.current == nil)
        try await aGoodServerHelps()
    }

    @Test func bodiesThatNeverEnd() async throws {
        let endless: @Sendable (ReleaseRequest) -> Void = { request in
            request.begin(200, length: nil)
            while request.connection.say(Data(count: 1 << 16)) {}
        }
        #expect(await download(try host { endless($0) }).contains("more than"))
        let manifest = await download(try ReleaseHost(Releases.first, endless))
        #expect(manifest.contains("manifest") && manifest.contains("more than"))
        try await aGoodServerHelps()
    }

    @Test func redirectsAreRefused() async throws {
        let target = try ReleaseHost(Releases.first)
        let url = target.url
        for isPart in [true, false] {
            let host = try ReleaseHost(Releases.first) { request in
                guard request.isPart == isPart else { return request.send() }
                request.begin(302, length: 0, "location: \(url)/\(request.path)\r\n")
            }
            #expect(await download(host).contains("redirected"))
        }
        #expect(target.asked.isEmpty)
        try await aGoodServerHelps()
    }

    @Test func serversThatAreSilentFailOrAreGone() async throws {
        var impatient = Releases.options
        impatient.patience = .milliseconds(400)
        let silent = try host { $0.connection.waitForTheEnd() }
        let error = await failure { try await self.catalog.update(silent, impatient) }
        #expect(error?.kind == .download)
        let failing = try host { $0.begin(503, length: 0) }
        #expect(await download(failing).contains("503"))
        #expect(failing.asked.count == 4)
        let missing = try host { $0.begin(404, length: 0) }
        #expect(await download(missing).contains("404"))
        #expect(missing.asked.count == 2)
        #expect(await download(try ReleaseHost(root)).contains("URL of a release"))
        let gone = try ReleaseHost(Releases.first)
        gone.stop()
        #expect(await download(gone).contains("reached"))
        try await aGoodServerHelps()
    }

    @Test func aTransportThatIgnoresCancellationOrLimitsDoesNoHarm() async throws {
        let url = try #require(URL(string: "https://shop.example/release"))
        var options = Releases.options
        options.patience = .milliseconds(50)
        let deaf = try ReleaseServer(
            url: url,
            transport: Custom { _ in
                await withCheckedContinuation { done in
                    Thread.detachNewThread {
                        Thread.sleep(forTimeInterval: 5)
                        done.resume()
                    }
                }
                throw URLError(.unknown)
            })
        let trust = try Releases.trust
        let late = await catalog.updateInBackground(from: deaf, trust: trust, options: options)
        #expect(late == .later)
        let large = try ReleaseServer(
            url: url,
            transport: Custom { request in
                #expect(request.method == .get && request.body.isEmpty)
                #expect(request.headers["accept-encoding"] == "identity")
                return HTTPReply(status: 200, body: Data(count: request.maxReplyBytes + 1))
            })
        let error = await failure { try await self.catalog.nextFile(from: large, trust: trust) }
        #expect(error?.kind == .download)
        try await aGoodServerHelps()
    }

    @Test func manifestsThatExpiredAreOlderOrAreNoManifests() async throws {
        let host = try ReleaseHost(Releases.first)
        var later = Releases.options
        later.now = { Date(timeIntervalSinceNow: 31 * 86_400) }
        #expect(await failure { try await self.catalog.update(host, later) }?.kind == .outdated)
        try await catalog.update(Releases.second)
        #expect(await failure { try await self.catalog.update(host) }?.kind == .outdated)
        #expect(try await catalog.current?.sequence == 2)
        let page = try ReleaseHost(Releases.first) { $0.connection.say(status: 200, "<html>") }
        _ = await download(page)
        try await aGoodServerHelps()
    }

    @Test func otherKeysAnotherCatalogueAndAnotherModel() async throws {
        let host = try ReleaseHost(Releases.first)
        let stranger = try Releases.stranger
        let error = await failure { try await self.catalog.update(host, trust: stranger) }
        #expect(error?.kind == .untrusted)
        #expect(host.asked == ["manifest", "keys-2"])
        var options = Releases.options
        options.name = "another"
        let named = options
        #expect(await failure { try await self.catalog.update(host, named) }?.kind == .notForThisApp)
        options = Releases.options
        options.model = Releases.fastPack
        let fast = options
        #expect(await failure { try await self.catalog.update(host, fast) }?.kind == .notForThisApp)
        try await aGoodServerHelps()
    }

    @Test func oneUpdateAtATime() async throws {
        let silent = try host { $0.connection.waitForTheEnd() }
        let server = try ReleaseServer(url: silent.url)
        for try await _ in try catalog.update(from: server, trust: Releases.trust, options: Releases.options) {
            let other = try await Catalog.open(at: catalog.folder)
            #expect(await failure { try await other.update(silent) }?.kind == .busy)
            break
        }
        try await aGoodServerHelps()
    }

    @Test func settingsWithoutSenseAreRefused() async throws {
        let (host, key) = (try ReleaseHost(Releases.first), try Releases.trust.keys[0])
        for trust in [
            Trust(keys: []), Trust(keys: [key, key], threshold: 2), Trust(keys: [key.uppercased()]),
            Trust(keys: [key], threshold: 0), Trust(keys: [key], threshold: -1),
        ] {
            let error = await failure { try await self.catalog.update(host, trust: trust) }
            #expect(error?.kind == .request, "\(trust)")
        }
        for change: (inout UpdateOptions) -> Void in [
            { $0.keepFree = -1 }, { $0.pieceBytes = 0 }, { $0.mostMeteredBytes = -1 }, { $0.patience = .zero },
        ] {
            var changing = Releases.options
            change(&changing)
            let options = changing
            #expect(await failure { try await self.catalog.update(host, options) }?.kind == .request)
        }
        let secret = try #require(URL(string: "https://user:secret@shop.example"))
        #expect(await failure { try ReleaseServer(url: secret) }?.kind == .request)
        #expect(host.asked.isEmpty)
        try await aGoodServerHelps()
    }
}

/// The transport of an app.
private struct Custom: HTTPTransport {
    let answer: @Sendable (HTTPRequest) async throws -> HTTPReply

    func send(_ request: HTTPRequest) async throws -> HTTPReply {
        try await answer(request)
    }
}
