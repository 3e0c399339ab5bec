// Images decoded by the system, including HEIC. Not compiled on Linux.

#if canImport(CoreGraphics)
import CoreGraphics
import Foundation

extension Frame {
    /// Creates a frame from an image, drawn in sRGB on white. It takes four bytes per pixel.
    ///
    /// For JPEG, PNG and WebP, ``Engine/search(photo:options:)`` is faster and needs less memory.
    ///
    /// - Throws: ``MagpieError/photo(reason:)`` if the image cannot be drawn.
    public init(_ image: CGImage) throws(MagpieError) {
        let (width, height) = (image.width, image.height)
        // The library's limit for frames; it also keeps the products below from overflowing.
        guard (1...16_384).contains(width), (1...16_384).contains(height) else {
            throw .photo(reason: "the image has \(width) x \(height) pixels; each side must be 1 to 16,384")
        }
        var bytes = Data(count: 4 * width * height)
        let isDrawn = bytes.withUnsafeMutableBytes { bytes -> Bool in
            let context = CGContext(
                data: bytes.baseAddress, width: width, height: height, bitsPerComponent: 8, bytesPerRow: 4 * width,
                space: CGColorSpace(name: CGColorSpace.sRGB) ?? CGColorSpaceCreateDeviceRGB(),
                bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
            guard let context else { return false }
            let all = CGRect(x: 0, y: 0, width: width, height: height)
            context.setFillColor(gray: 1, alpha: 1)
            context.fill(all)
            context.draw(image, in: all)
            return true
        }
        guard isDrawn else { throw .photo(reason: "the image cannot be drawn") }
        self.init(.rgba(Plane(bytes: bytes, rowStride: 4 * width)), width: width, height: height)
    }
}
#endif

#if canImport(UIKit)
import UIKit

extension Frame {
    /// Creates a frame from an image, upright as it is displayed; otherwise as for a `CGImage`.
    public init(_ image: UIImage) throws(MagpieError) {
        guard let picture = image.cgImage else { throw .photo(reason: "the image has no bitmap") }
        try self.init(picture)
        switch image.imageOrientation {
        case .up: orient(.up)
        case .upMirrored: orient(.upMirrored)
        case .down: orient(.down)
        case .downMirrored: orient(.downMirrored)
        case .left: orient(.left)
        case .leftMirrored: orient(.leftMirrored)
        case .right: orient(.right)
        case .rightMirrored: orient(.rightMirrored)
        @unknown default: break
        }
    }
}
#endif
