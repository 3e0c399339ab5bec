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
    /// A file could not be read.
    case file(reason: String)
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
                case .Cancelled: .cancelled
                case .Internal(let reason): .internal(reason: reason)
                }
        // The generated code itself failed.
        default: self = .internal(reason: String(describing: error))
        }
    }
}
