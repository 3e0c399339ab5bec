import Foundation
internal import MagpieGenerated

/// A camera frame: planes as the camera delivers them, and their layout.
///
/// A frame borrows its planes; nothing is copied or converted before the network's input is computed. On Apple's
/// systems, `Frame(pixelBuffer)` wraps a `CVPixelBuffer`, and there are initialisers for `CMSampleBuffer`, `CGImage`
/// and `UIImage`.
///
/// ```swift
/// let plane = Frame.Plane(bytes: bgra, rowStride: 4 * 1920)
/// let frame = Frame(.bgra(plane), width: 1920, height: 1080, rotation: .quarter)
/// let results = try await engine.search(frame: frame)
/// ```
public struct Frame: Sendable {
    /// The pixels as stored.
    public var pixels: Pixels
    /// Width as stored, in pixels.
    public var width: Int
    /// Height as stored, in pixels.
    public var height: Int
    /// The clockwise rotation that makes the frame upright.
    public var rotation: Rotation
    /// Whether the upright frame is then mirrored left to right, as a front camera's preview is.
    public var isMirrored: Bool

    /// Creates a frame with these pixels.
    public init(_ pixels: Pixels, width: Int, height: Int, rotation: Rotation = .none, isMirrored: Bool = false) {
        self.pixels = pixels
        self.width = width
        self.height = height
        self.rotation = rotation
        self.isMirrored = isMirrored
    }

    /// One plane of a frame.
    public struct Plane: Sendable {
        /// The bytes from the first sample to the last or beyond. The last row may lack padding.
        public var bytes: Data
        /// Bytes between the starts of two rows.
        public var rowStride: Int

        /// Creates a plane of these bytes.
        public init(bytes: Data, rowStride: Int) {
            self.bytes = bytes
            self.rowStride = rowStride
        }
    }

    /// The storage format of pixels.
    public enum Pixels: Sendable {
        /// Red, green, blue and an ignored byte per pixel: cameras deliver opaque pixels.
        case rgba(Plane)
        /// Blue, green, red and an ignored byte per pixel.
        case bgra(Plane)
        /// Luma, and a plane of half the width and height with interleaved Cb and Cr.
        case nv12(luma: Plane, chroma: Plane, YUV)
    }

    /// Colour matrix and range of luma and chroma.
    public enum YUV: Sendable, Hashable {
        /// BT.601, 0 to 255, as in JPEG: the usual format of `420f` on iOS.
        case bt601Full
        /// BT.601, luma 16 to 235, chroma 16 to 240.
        case bt601Video
        /// BT.709, 0 to 255.
        case bt709Full
        /// BT.709, luma 16 to 235, chroma 16 to 240: `420v` on iOS in high definition.
        case bt709Video
    }

    /// A clockwise rotation.
    public enum Rotation: Sendable, Hashable, CaseIterable {
        /// 0 degrees.
        case none
        /// 90 degrees.
        case quarter
        /// 180 degrees.
        case half
        /// 270 degrees.
        case threeQuarters
    }
}

extension Frame {
    /// Width of the upright frame, in pixels.
    public var uprightWidth: Int { isOnItsSide ? height : width }
    /// Height of the upright frame, in pixels.
    public var uprightHeight: Int { isOnItsSide ? width : height }

    private var isOnItsSide: Bool { rotation == .quarter || rotation == .threeQuarters }
}

/// A frame in the form that crosses to Rust: its planes and their layout.
struct Planes: Sendable {
    let first: Data
    let second: Data
    let layout: FrameLayout

    /// None of the formats has a third plane.
    let third = Data()

    init(_ frame: Frame) throws(MagpieError) {
        let format: PixelFormat
        let rowStride: Int
        var (chroma, chromaStride, color) = (Data(), 0, ColorRange.bt601Full)
        switch frame.pixels {
        case .rgba(let plane): (format, first, rowStride) = (.rgba, plane.bytes, plane.rowStride)
        case .bgra(let plane): (format, first, rowStride) = (.bgra, plane.bytes, plane.rowStride)
        case .nv12(let luma, let plane, let yuv):
            (format, first, rowStride) = (.nv12, luma.bytes, luma.rowStride)
            (chroma, chromaStride, color) = (plane.bytes, plane.rowStride, yuv.generated)
        }
        second = chroma
        for plane in [first, second] { _ = try validated(plane) }
        layout = FrameLayout(
            format: format, width: try side(frame.width, "width"), height: try side(frame.height, "height"),
            rowStride: try side(rowStride, "row stride"),
            chromaRowStride: try side(chromaStride, "chroma row stride"),
            rotationDegrees: frame.rotation.degrees, mirrored: frame.isMirrored, color: color)
    }
}

private func side(_ pixels: Int, _ name: String) throws(MagpieError) -> UInt32 {
    guard let side = UInt32(exactly: pixels) else {
        throw .photo(reason: "invalid \(name) of the frame: \(pixels)")
    }
    return side
}

extension Frame.YUV {
    fileprivate var generated: ColorRange {
        switch self {
        case .bt601Full: .bt601Full
        case .bt601Video: .bt601Video
        case .bt709Full: .bt709Full
        case .bt709Video: .bt709Video
        }
    }
}

extension Frame.Rotation {
    fileprivate var degrees: UInt32 {
        switch self {
        case .none: 0
        case .quarter: 90
        case .half: 180
        case .threeQuarters: 270
        }
    }
}

extension Crop {
    /// Converts a box on a frame's preview to a crop.
    ///
    /// - Parameters:
    ///   - box: Shares of the upright frame's width and height, 0 to 1, from the top left. Parts outside are cut off.
    ///   - frame: The frame.
    public init(_ box: CGRect, of frame: Frame) {
        let edge = { (share: CGFloat, side: Int) in
            share.isFinite ? Int((min(max(share, 0), 1) * CGFloat(side)).rounded()) : 0
        }
        let (width, height) = (frame.uprightWidth, frame.uprightHeight)
        // A box outside the frame, or an empty one, becomes one pixel at the edge.
        let left = min(edge(box.minX, width), max(width - 1, 0))
        let top = min(edge(box.minY, height), max(height - 1, 0))
        self.init(
            x: left, y: top, width: max(edge(box.maxX, width) - left, 1), height: max(edge(box.maxY, height) - top, 1))
    }
}
