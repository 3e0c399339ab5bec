import Foundation
import Magpie
import Testing

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

/// Whatever the server does, the phone's listings arrive in time, with the reason for the failure.
@Suite(.timeLimit(.minutes(5))) struct BadServerTests {
    private let asking = AskOptions(.unmetered, deadline: .seconds(20))
    /// A short deadline, for servers that never answer.
    private let short = Duration.milliseconds(900)
    private let twenty = SearchOptions(count: 20)
    /// Generous margin for a loaded machine: these tests do not measure time.
    private let patience = Duration.seconds(10)

    private func ask(_ server: CatalogServer, _ asking: AskOptions? = nil) async throws -> Asked {
        let (photo, asking) = (try Demo.query("chair-02"), asking ?? self.asking)
        let begun = ContinuousClock.now
        let results = try await Demo.phone.search(photo: photo, server: server, asking: asking, options: twenty)
        #expect(ContinuousClock.now - begun < asking.deadline + patience)
        let alone = try await Demo.phone.search(
            photo: photo, server: server, asking: AskOptions(.offline), options: twenty)
        #expect(!alone.listings.isEmpty && results.listings == alone.listings)
        return try #require(results.asked)
    }

    /// Returns the name of the failure and the number of requests.
    private func against(
        reads: Bool = true, deadline: Duration? = nil, _ behave: @escaping @Sendable (Connection, Int) -> Void
    ) async throws -> Failure {
        let bad = try BadServer(reads: reads, behave)
        defer { bad.stop() }
        var asking = asking
        asking.deadline = deadline ?? asking.deadline
        let asked = try await ask(CatalogServer(url: bad.url, token: "a-token"), asking)
        #expect(bad.heads.count == asked.requests)
        return Failure(asked)
    }

    private struct Failure: Equatable {
        var name: String?
        var requests: Int

        init(_ name: String, _ requests: Int) {
            (self.name, self.requests) = (name, requests)
        }

        init(_ asked: Asked) {
            (name, requests) = (asked.failed, asked.requests)
        }
    }

    private func empty(_ model: String) -> String {
        #"{"model_id": "\#(model)", "catalog": "shop", "listings": []}"#
    }

    @Test func serversThatCannotBeReached() async throws {
        let asked = try await ask(CatalogServer(url: BadServer.nobody()))
        #expect(Failure(asked) == Failure("unreachable", 3))
    }

    @Test func serversThatNeverAnswerCostNoMoreThanTheDeadline() async throws {
        let silent = try await against(deadline: short) { connection, _ in connection.waitForTheEnd() }
        #expect(silent.name == "timed_out")
        let dripping = try await against(deadline: short) { connection, _ in
            connection.say(Data("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n".utf8))
            while connection.say(Data(" ".utf8)) { Thread.sleep(forTimeInterval: 0.02) }
        }
        #expect(dripping.name == "timed_out")
    }

    @Test func brokenConnectionsAreRetried() async throws {
        #expect(try await against { _, _ in } == Failure("broken", 3))
        #expect(try await against { connection, _ in connection.reset() } == Failure("broken", 3))
        let cut = try await against { connection, _ in
            connection.say(Data("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nxxxxx".utf8))
        }
        #expect(cut == Failure("broken", 3))
        let reply = empty(try await Demo.phone.info.modelID)
        let flapping = try BadServer { connection, number in
            if number == 1 { connection.say(status: 200, reply) }
        }
        defer { flapping.stop() }
        let asked = try await ask(CatalogServer(url: flapping.url))
        #expect(asked.outcome == .answered && asked.requests == 2)
    }

    @Test func invalidRepliesAreRejected() async throws {
        let portal = "<html>Sign in to use this network</html>"
        let other = empty(String(repeating: "09", count: 32))
        let cases: [(Int, String, String, Failure)] = [
            (200, portal, "", Failure("bad_reply", 1)), (200, other, "", Failure("wrong_model", 1)),
            (409, "", "", Failure("wrong_model", 1)), (404, portal, "", Failure("refused", 1)),
            (401, "", "", Failure("refused", 1)),
            (500, portal, "", Failure("server_error", 3)), (503, "", "retry-after: 100\r\n", Failure("busy", 1)),
        ]
        for (status, body, more, expected) in cases {
            let found = try await against { connection, _ in connection.say(status: status, body, more: more) }
            #expect(found == expected, "\(status)")
        }
        let noise = try await against { connection, _ in connection.say(Data(repeating: 0xff, count: 2000)) }
        #expect(["broken", "bad_reply"].contains(noise.name))
        // Redirects are not followed.
        let elsewhere = try BadServer { _, _ in }
        defer { elsewhere.stop() }
        let location = "location: \(elsewhere.url)/v1/search\r\n"
        let sent = try await against { connection, _ in connection.say(status: 307, more: location) }
        #expect(sent == Failure("refused", 1))
        #expect(elsewhere.heads.isEmpty)
        // An endless body, sent as fast as possible.
        let endless = try await against { connection, _ in
            connection.say(Data("HTTP/1.1 200 OK\r\ncontent-length: 2000000000\r\n\r\n".utf8))
            while connection.say(Data(repeating: 0x20, count: 1 << 16)) {}
        }
        #expect(endless == Failure("too_large", 1))
    }

    @Test func theCircuitBreakerOpensForAServerThatKeepsFailing() async throws {
        let breaking = try BadServer { _, _ in }
        defer { breaking.stop() }
        let server = try CatalogServer(url: breaking.url)
        var requests = 0
        for _ in 0..<2 {
            let asked = try await ask(server)
            #expect(asked.failed == "broken")
            requests += asked.requests
        }
        #expect(requests == 6)
        // On a slow machine, the server may not have read the head of an abandoned request.
        let sent = breaking.heads.count
        let asked = try await ask(server)
        #expect(asked.reason == .serverResting && asked.outcome == .notAsked && asked.requests == 0)
        #expect(breaking.heads.count == sent)
    }

    @Test func cancellingEndsTheSearchAndClosesTheConnection() async throws {
        let silent = try BadServer { connection, _ in connection.waitForTheEnd() }
        defer { silent.stop() }
        let (server, photo) = (try CatalogServer(url: silent.url), try Demo.query("chair-02"))
        let patient = AskOptions(.unmetered, deadline: .seconds(60))
        let search = Task {
            try await Demo.phone.search(photo: photo, server: server, asking: patient, options: twenty)
        }
        while silent.heads.isEmpty { try await Task.sleep(for: .milliseconds(5)) }
        let begun = ContinuousClock.now
        search.cancel()
        #expect(await failure { try await search.value } == .cancelled)
        #expect(ContinuousClock.now - begun < patience)
        while silent.ended == 0 { try await Task.sleep(for: .milliseconds(5)) }

        // Iteration that stops after the first element.
        let updates = try await Demo.phone.searchUpdates(
            photo: photo, server: server, asking: patient, options: twenty)
        for try await results in updates {
            #expect(results.asked?.outcome == .pending)
            break
        }
        #expect(ContinuousClock.now - begun < patience + patience)
    }

    @Test func aRequestContainsWhatItNeedsAndNoMore() async throws {
        let server = try BadServer { connection, _ in connection.say(status: 404) }
        defer { server.stop() }
        let url = server.url.appendingPathComponent("shop/")
        #expect(try await ask(CatalogServer(url: url, token: "a-token")).failed == "refused")
        let head = try #require(server.heads.first)
        #expect(head.hasPrefix("post /shop/v1/search http/1.1"))
        let lines = ["content-type: application/json", "accept: application/json", "authorization: bearer a-token"]
        for line in lines { #expect(head.contains(line), "\(head)") }
        #expect(head.contains(/magpie-deadline-ms: [1-9][0-9]*/))
        #expect(!head.contains("cookie"))
    }

    @Test func anAppCanUseItsOwnTransport() async throws {
        let model = try await Demo.phone.info.modelID
        let own = Own { _ in HTTPReply(status: 200, body: Data(self.empty(model).utf8)) }
        let url = try #require(URL(string: "https://shop.example"))
        let asked = try await ask(CatalogServer(url: url, token: "a-token", transport: own))
        #expect(asked.outcome == .answered && asked.requests == 1)
        let request = try #require(own.requests.first)
        #expect(own.requests.count == 1 && request.url.absoluteString == "https://shop.example/v1/search")
        #expect(request.headers["authorization"] == "Bearer a-token")
        #expect(String(decoding: request.body, as: UTF8.self).hasPrefix("{\"model_id\":\"\(model)\""))
        #expect(request.timeout <= asking.deadline && request.maxReplyBytes > 1 << 20)
    }

    @Test func whateverATransportThrowsOrIgnoresThePhonesListingsArrive() async throws {
        let url = try #require(URL(string: "https://shop.example"))
        let cases: [(String, @Sendable (HTTPRequest) async throws -> HTTPReply)] = [
            ("broken", { _ in throw CocoaError(.fileNoSuchFile) }),
            ("broken", { _ in throw CancellationError() }),
            ("broken", { _ in throw URLError(.networkConnectionLost) }),
            ("timed_out", { _ in throw URLError(.timedOut) }),
            ("unreachable", { _ in throw URLError(.cannotFindHost) }),
            ("untrusted", { _ in throw URLError(.serverCertificateUntrusted) }),
            ("too_large", { _ in throw HTTPTrouble.tooLarge }),
            ("too_large", { HTTPReply(status: 200, body: Data(count: $0.maxReplyBytes + 1)) }),
            ("refused", { _ in HTTPReply(status: -1, body: Data()) }),
            (
                "timed_out",
                { _ in
                    try await Task.sleep(for: .seconds(60))
                    throw URLError(.unknown)
                }
            ),
            // Ignores cancellation.
            (
                "timed_out",
                { _ in
                    await withCheckedContinuation { done in
                        Thread.detachNewThread {
                            Thread.sleep(forTimeInterval: 5)
                            done.resume()
                        }
                    }
                    throw URLError(.unknown)
                }
            ),
        ]
        for (name, send) in cases {
            let asking = AskOptions(.unmetered, deadline: name == "timed_out" ? short : asking.deadline)
            #expect(try await ask(CatalogServer(url: url, transport: Own(send)), asking).failed == name)
        }
    }
}

/// The transport of an app.
private final class Own: HTTPTransport, @unchecked Sendable {
    private let answer: @Sendable (HTTPRequest) async throws -> HTTPReply
    private let lock = NSLock()
    private var seen: [HTTPRequest] = []

    init(_ answer: @escaping @Sendable (HTTPRequest) async throws -> HTTPReply) {
        self.answer = answer
    }

    var requests: [HTTPRequest] { lock.withLock { seen } }

    func send(_ request: HTTPRequest) async throws -> HTTPReply {
        lock.withLock { seen.append(request) }
        return try await answer(request)
    }
}

extension Asked {
    /// The name of the failure, or nil if there is none.
    var failed: String? {
        if case .failed(let name, let reason) = outcome, !reason.isEmpty { name } else { nil }
    }
}

extension SearchResults {
    /// The name of the failure, or nil if there is none.
    var failed: String? { asked?.failed }
}
