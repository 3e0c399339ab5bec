import Foundation
internal import MagpieGenerated

/// Performs an update: fetches what Rust asks for.
struct Updating {
    let update: MagpieGenerated.CatalogUpdate
    let calls: Calls
    let options: UpdateOptions
    let requests: ReleaseRequests
    let emit: @Sendable (UpdateProgress) -> Void

    private var total = 0
    /// Bytes received, less what had to begin anew.
    private var received = 0
    private var tries = Tries()
    /// Bytes that one request asks for.
    private var piece: UInt64

    /// Smaller pieces than this would not help a slow network.
    private static let smallestPiece: UInt64 = 16 << 10

    init(
        _ update: MagpieGenerated.CatalogUpdate, calls: Calls, options: UpdateOptions, requests: ReleaseRequests,
        emit: @escaping @Sendable (UpdateProgress) -> Void
    ) {
        self.update = update
        self.calls = calls
        self.options = options
        self.requests = requests
        self.emit = emit
        piece = UInt64(options.pieceBytes)
    }

    /// - Parameter free: Free space in bytes; nil if it is not known.
    mutating func run(free: @Sendable () -> Int?) async throws(MagpieError) -> UpdateProgress {
        guard options.connectivity() != .offline else { return .postponed(bytes: 0) }
        let plan = try await begin()
        total = Int(clamping: plan.bytes)
        let needed = Int(clamping: plan.space)
        if needed > 0, let free = free(), free - options.keepFree < needed {
            throw .noSpace(reason: "\(needed) bytes are needed and \(options.keepFree) kept free, \(free) are free")
        }
        while let fetch = try await next() {
            let left = max(total - received, 0)
            if isPostponed(left) { return .postponed(bytes: left) }
            emit(progress)
            try await attempt(fetch)
        }
        emit(progress)
        let installed = try await call { try $0.install() }
        return .installed(InstalledCatalog(installed), isNew: !plan.isInstalled)
    }

    /// Fetches the manifest, and keys documents while it is signed by newer keys.
    func begin() async throws(MagpieError) -> UpdatePlan {
        let path = update.manifestPath()
        guard let manifest = try await requests.document(path) else {
            throw requests.failure(path, "there is no such file; is this the URL of a release?")
        }
        let seconds = options.now().timeIntervalSince1970
        // Not a number that cannot be converted, whatever the app's clock says.
        let now = UInt64(seconds.isFinite ? min(max(seconds, 0), 1e15) : 0)
        while true {
            do {
                return try await call { try $0.manifest(bytes: manifest, now: now) }
            } catch .untrusted(let reason) {
                let path = try await call { try $0.keysPath() }
                guard let keys = try await requests.document(path) else { throw .untrusted(reason: reason) }
                try await call { try $0.addKeys(bytes: keys) }
            }
        }
    }

    /// What to fetch next; nil if all is there.
    func next() async throws(MagpieError) -> UpdateFetch? {
        try await call { try $0.nextFetch() }
    }

    private var progress: UpdateProgress {
        .downloading(received: min(max(received, 0), total), total: total)
    }

    private func isPostponed(_ left: Int) -> Bool {
        switch options.connectivity() {
        case .offline: true
        case .metered: left > options.mostMeteredBytes
        case .unmetered: false
        }
    }

    /// Fetches the next piece of a file.
    private mutating func attempt(_ fetch: UpdateFetch) async throws(MagpieError) {
        tries.begin(fetch)
        let before = received - Int(clamping: fetch.offset)
        let end = fetch.offset + min(piece, fetch.bytes - fetch.offset)
        let trouble: String
        switch try await requests.piece(fetch.path, fetch.offset..<end, of: fetch.bytes) {
        case .bytes(let body, let offset):
            do {
                _ = try await call { try $0.receive(offset: offset, bytes: body) }
                let reached = offset + UInt64(body.count)
                received = before + Int(clamping: reached)
                tries.reached(reached)
                trouble = "the server sends the same bytes again"
            } catch .download(let reason) {
                // Rust has thrown away what there was of the file.
                received = before
                tries.wrong()
                trouble = reason
            }
        case .nothing(let reason, let timedOut):
            if timedOut { piece = min(piece, max(piece / 4, Self.smallestPiece)) }
            tries.nothing()
            trouble = reason
        }
        guard tries.failures > 0 else { return }
        guard !tries.isOver else { throw requests.failure(fetch.path, trouble) }
        try await ReleaseRequests.pause(after: tries.failures)
    }

    private func call<Value: Sendable>(
        _ work: @escaping @Sendable (MagpieGenerated.CatalogUpdate) throws -> Value
    ) async throws(MagpieError) -> Value {
        let update = update
        return try await calls.run { _ in try work(update) }
    }
}

/// Ends an update that gets nowhere.
private struct Tries {
    /// Requests in a row that brought nothing new.
    private var idle = 0
    /// How often the file turned out not to be the right one.
    private var wrongFiles = 0
    private var file = ""
    /// Only bytes beyond these count: a server without ranges may bring the same ones forever.
    private var furthest: UInt64 = 0
    private var isWrong = false

    var failures: Int { isWrong ? wrongFiles : idle }
    var isOver: Bool { max(idle, wrongFiles) >= ReleaseRequests.tries }

    mutating func begin(_ fetch: UpdateFetch) {
        if fetch.path != file { (file, furthest, idle, wrongFiles) = (fetch.path, fetch.offset, 0, 0) }
        isWrong = false
    }

    mutating func reached(_ offset: UInt64) {
        idle = offset > furthest ? 0 : idle + 1
        furthest = max(furthest, offset)
    }

    mutating func nothing() {
        idle += 1
    }

    mutating func wrong() {
        (idle, furthest, isWrong) = (0, 0, true)
        wrongFiles += 1
    }
}
