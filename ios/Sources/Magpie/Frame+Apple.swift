// Frames from Apple's camera frameworks. Not compiled on Linux.

#if canImport(CoreVideo)
import CoreVideo
import Foundation

extension Frame {
    /// Creates a frame from a pixel buffer: 32-bit BGRA, or 8-bit 4:2:0 in two planes, in full or video range.
    ///
    /// The buffer is retained and locked for reading as long as the frame, or a search with it, exists. A camera has
    /// only a few buffers, so release frames early.
    ///
    /// - Parameters:
    ///   - rotation: The clockwise rotation that makes it upright. The back camera of a phone held in portrait delivers
    ///     frames that need a quarter turn, unless its capture connection is set to rotate them.
    ///   - isMirrored: Whether the upright frame is then mirrored left to right.
    /// - Throws: ``MagpieError/photo(reason:)`` if the buffer has another format or cannot be read.
    public init(
        _ buffer: CVPixelBuffer, rotation: Rotation = .none, isMirrored: Bool = false
    ) throws(MagpieError) {
        let held = try LockedBuffer(buffer)
        let format = CVPixelBufferGetPixelFormatType(buffer)
        let pixels: Pixels
        switch format {
        case kCVPixelFormatType_32BGRA:
            pixels = .bgra(try held.packed())
        case kCVPixelFormatType_420YpCbCr8BiPlanarFullRange:
            pixels = .nv12(
                luma: try held.plane(0, bytes: 1), chroma: try held.plane(1, bytes: 2),
                held.isBT709 ? .bt709Full : .bt601Full)
        case kCVPixelFormatType_420YpCbCr8BiPlanarVideoRange:
            pixels = .nv12(
                luma: try held.plane(0, bytes: 1), chroma: try held.plane(1, bytes: 2),
                held.isBT709 ? .bt709Video : .bt601Video)
        default:
            throw .photo(reason: "unsupported pixel format \(format): expected BGRA, 420f or 420v")
        }
        self.init(
            pixels, width: CVPixelBufferGetWidth(buffer), height: CVPixelBufferGetHeight(buffer), rotation: rotation,
            isMirrored: isMirrored)
    }
}

/// Keeps a pixel buffer locked for reading until it is deallocated.
private final class LockedBuffer: @unchecked Sendable {
    // Only read, and a locked buffer may be read from any thread.
    private let buffer: CVPixelBuffer

    init(_ buffer: CVPixelBuffer) throws(MagpieError) {
        let status = CVPixelBufferLockBaseAddress(buffer, .readOnly)
        guard status == kCVReturnSuccess else { throw .photo(reason: "the pixel buffer cannot be locked: \(status)") }
        self.buffer = buffer
    }

    deinit {
        CVPixelBufferUnlockBaseAddress(buffer, .readOnly)
    }

    /// Whether the buffer declares BT.709; otherwise BT.601 is assumed.
    var isBT709: Bool {
        let matrix = CVBufferCopyAttachment(buffer, kCVImageBufferYCbCrMatrixKey, nil) as? String
        return matrix == kCVImageBufferYCbCrMatrix_ITU_R_709_2 as String
    }

    func packed() throws(MagpieError) -> Frame.Plane {
        try plane(
            at: CVPixelBufferGetBaseAddress(buffer), rowStride: CVPixelBufferGetBytesPerRow(buffer),
            width: 4 * CVPixelBufferGetWidth(buffer), height: CVPixelBufferGetHeight(buffer))
    }

    func plane(_ index: Int, bytes: Int) throws(MagpieError) -> Frame.Plane {
        try plane(
            at: CVPixelBufferGetBaseAddressOfPlane(buffer, index),
            rowStride: CVPixelBufferGetBytesPerRowOfPlane(buffer, index),
            width: bytes * CVPixelBufferGetWidthOfPlane(buffer, index),
            height: CVPixelBufferGetHeightOfPlane(buffer, index))
    }

    /// `width` is in bytes.
    private func plane(
        at start: UnsafeMutableRawPointer?, rowStride: Int, width: Int, height: Int
    ) throws(MagpieError) -> Frame.Plane {
        guard let start, width > 0, height > 0 else { throw .photo(reason: "the pixel buffer has no bytes") }
        // The last row may lack padding.
        let count = (height - 1) * rowStride + width
        let release: (UnsafeMutableRawPointer, Int) -> Void = { _, _ in withExtendedLifetime(self) {} }
        return Frame.Plane(
            bytes: Data(bytesNoCopy: start, count: count, deallocator: .custom(release)), rowStride: rowStride)
    }
}
#endif

#if canImport(CoreMedia)
import CoreMedia

extension Frame {
    /// Creates a frame from a sample of the camera's output; otherwise as for a pixel buffer.
    public init(
        _ sample: CMSampleBuffer, rotation: Rotation = .none, isMirrored: Bool = false
    ) throws(MagpieError) {
        guard let buffer = CMSampleBufferGetImageBuffer(sample) else {
            throw .photo(reason: "the sample contains no image")
        }
        try self.init(buffer, rotation: rotation, isMirrored: isMirrored)
    }
}
#endif

#if canImport(ImageIO)
import ImageIO

extension Frame {
    /// Replaces the frame's rotation and mirroring by this orientation.
    public mutating func orient(_ orientation: CGImagePropertyOrientation) {
        switch orientation {
        case .up: (rotation, isMirrored) = (.none, false)
        case .upMirrored: (rotation, isMirrored) = (.none, true)
        case .down: (rotation, isMirrored) = (.half, false)
        case .downMirrored: (rotation, isMirrored) = (.half, true)
        case .right: (rotation, isMirrored) = (.quarter, false)
        case .leftMirrored: (rotation, isMirrored) = (.quarter, true)
        case .left: (rotation, isMirrored) = (.threeQuarters, false)
        case .rightMirrored: (rotation, isMirrored) = (.threeQuarters, true)
        @unknown default: (rotation, isMirrored) = (.none, false)
        }
    }
}
#endif
