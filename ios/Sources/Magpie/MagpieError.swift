import Foundation
internal import MagpieGenerated

/// Why a call failed, grouped by what the app can do about it.
///
/// The reasons are English text for logs and developers, not for shoppers. They may quote what a shopper typed.
///
/// ```swift
/// do {
///     results = try await engine.search(photo: photo)
/// } catch .photo {
///     hint = "Try another photo"
/// } catch .cancelled {
///     return
/// } catch {
///     report(error)
/// }
/// ```
public enum MagpieError: Error, Sendable, Hashable {
    /// The photo or frame cannot be used, or the crop exceeds it: try another one.
    case photo(reason: String)
    /// The catalogue cannot be used: download it again, or update the app.
    case catalog(reason: String)
    /// The model pack cannot be used, or the catalogue was built with another model: install both again.
    case model(reason: String)
    /// The request cannot be answered: for example, the filter is invalid or the listing does not exist.
    case request(reason: String)
    /// A file could not be read or written.
    case file(reason: String)
    /// The catalogue is for another model than this engine has: open a new engine, which takes both.
    case otherModel(reason: String)
    /// The release, or its keys, are not signed by enough of the trusted keys: do not use this source.
    case untrusted(reason: String)
    /// The release has expired, or is older than one that was seen before: ask again later.
    case outdated(reason: String)
    /// The release is for another catalogue or model, or for a later version of the app: update the app.
    case notForThisApp(reason: String)
    /// What was downloaded is not what it should be: fetch again.
    case download(reason: String)
    /// Another update of this folder is under way, in this process or another: try again later.
    case busy(reason: String)
    /// The disk is full: free space, then update again. What was received is kept.
    case noSpace(reason: String)
    /// The task was cancelled.
    case cancelled
    /// The engine was closed before the call.
    case closed
    /// A defect of the library: please report it.
    case `internal`(reason: String)
}

extension MagpieError: LocalizedError {
    /// A description in English.
    public var errorDescription: String? {
        switch self {
        case .photo(let reason): "photo: \(reason)"
        case .catalog(let reason): "catalogue: \(reason)"
        case .model(let reason): "model: \(reason)"
        case .request(let reason): "request: \(reason)"
        case .file(let reason): "file: \(reason)"
        case .otherModel(let reason): "other model: \(reason)"
        case .untrusted(let reason): "untrusted: \(reason)"
        case .outdated(let reason): "outdated: \(reason)"
        case .notForThisApp(let reason): "not for this app: \(reason)"
        case .download(let reason): "download: \(reason)"
        case .busy(let reason): "busy: \(reason)"
        case .noSpace(let reason): "no space: \(reason)"
        case .cancelled: "cancelled"
        case .closed: "the engine is closed"
        case .internal(let reason): "internal: \(reason)"
        }
    }
}

extension MagpieError {
    /// Translates an error thrown by the generated code.
    init(_ error: any Error) {
        switch error {
        case let error as MagpieError: self = error
        case let error as MagpieGenerated.MagpieError:
            self =
                switch error {
                case .Photo(let reason): .photo(reason: reason)
                case .Catalog(let reason): .catalog(reason: reason)
                case .Model(let reason): .model(reason: reason)
                case .Request(let reason): .request(reason: reason)
                case .File(let reason): .file(reason: reason)
                case .OtherModel(let reason): .otherModel(reason: reason)
                case .Untrusted(let reason): .untrusted(reason: reason)
                case .Outdated(let reason): .outdated(reason: reason)
                case .NotForThisApp(let reason): .notForThisApp(reason: reason)
                case .Download(let reason): .download(reason: reason)
                case .Busy(let reason): .busy(reason: reason)
                case .NoSpace(let reason): .noSpace(reason: reason)
                case .Cancelled: .cancelled
                case .Internal(let reason): .internal(reason: reason)
                }
        // The generated code itself failed.
        default: self = .internal(reason: String(describing: error))
        }
    }
}
