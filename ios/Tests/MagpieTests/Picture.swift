import Foundation
import Magpie

/// A picture drawn by tests, as a photo and as camera frames.
struct Picture {
    let width: Int
    let height: Int
    /// Red, green and blue of each pixel, row by row.
    private(set) var rgb: [UInt8]

    /// Draws the picture pixel by pixel.
    init(width: Int, height: Int, _ colour: (Int, Int) -> (Double, Double, Double)) {
        (self.width, self.height) = (width, height)
        rgb = []
        rgb.reserveCapacity(3 * width * height)
        for y in 0..<height {
            for x in 0..<width {
                let (red, green, blue) = colour(x, y)
                rgb += [red, green, blue].map { UInt8(min(max($0, 0), 255)) }
            }
        }
    }

    /// A scene like a mug on a table: a body with a handle, sharp stripes, and soft light. `left` moves it to the left,
    /// as a share of the width.
    static func scene(width: Int = 320, height: Int = 240, left: Double = 0) -> Picture {
        Picture(width: width, height: height) { x, y in
            let (u, v) = (Double(x) / Double(width) + left, Double(y) / Double(height))
            let light = 60 * (1 - u)
            let ring = ((u - 0.68) * (u - 0.68) * 1.7 + (v - 0.5) * (v - 0.5)).squareRoot()
            if (0.3...0.66).contains(u) && (0.2...0.85).contains(v) {
                let stripe: Double = Int(v * 24) % 2 == 0 ? 0 : 50
                return (70 + light, 130 + light - stripe, 110 + light / 2)
            }
            if (0.12...0.2).contains(ring) && u > 0.66 { return (50 + light, 100 + light, 90) }
            return v > 0.75 ? (150 + light, 120 + light, 90) : (190 + light, 195 + light, 200)
        }
    }

    /// A uniform grey picture.
    static func grey(_ level: Double) -> Picture {
        Picture(width: 320, height: 240) { _, _ in (level, level, level) }
    }

    func pixel(_ x: Int, _ y: Int) -> (red: UInt8, green: UInt8, blue: UInt8) {
        let at = 3 * (y * width + x)
        return (rgb[at], rgb[at + 1], rgb[at + 2])
    }

    /// Rotates the picture clockwise by quarter turns.
    func rotated(_ quarters: Int) -> Picture {
        guard quarters % 4 != 0 else { return self }
        let once = Picture(width: height, height: width) { x, y in
            let (red, green, blue) = pixel(y, height - 1 - x)
            return (Double(red), Double(green), Double(blue))
        }
        return once.rotated(quarters - 1)
    }

    /// The picture mirrored left to right.
    var mirrored: Picture {
        Picture(width: width, height: height) { x, y in
            let (red, green, blue) = pixel(width - 1 - x, y)
            return (Double(red), Double(green), Double(blue))
        }
    }

    /// Four bytes per pixel, with this number of padding bytes after all rows but the last.
    func packed(isBGRA: Bool, padding: Int = 0) -> Frame.Plane {
        var bytes = Data(capacity: height * (4 * width + padding))
        for y in 0..<height {
            for x in 0..<width {
                let (red, green, blue) = pixel(x, y)
                bytes.append(contentsOf: isBGRA ? [blue, green, red, 255] : [red, green, blue, 255])
            }
            if y < height - 1 { bytes.append(contentsOf: [UInt8](repeating: 0xAB, count: padding)) }
        }
        return Frame.Plane(bytes: bytes, rowStride: 4 * width + padding)
    }

    /// Luma, and the mean chroma of each 2 x 2 square, with this number of padding bytes after all rows but the last.
    func nv12(_ yuv: Frame.YUV, padding: Int = 0) -> Frame.Pixels {
        let isFull = yuv == .bt601Full || yuv == .bt709Full
        let (red, blue) = yuv == .bt601Full || yuv == .bt601Video ? (0.299, 0.114) : (0.2126, 0.0722)
        let byte = { (value: Double) in UInt8(min(max(value.rounded(), 0), 255)) }
        /// Luma, and chroma around zero, of a pixel. Pixels beyond the edge repeat the edge.
        func samples(_ x: Int, _ y: Int) -> (luma: Double, cb: Double, cr: Double) {
            let colour = pixel(min(x, width - 1), min(y, height - 1))
            let (r, g, b) = (Double(colour.red), Double(colour.green), Double(colour.blue))
            let luma = red * r + (1 - red - blue) * g + blue * b
            return (luma, (b - luma) / (2 * (1 - blue)), (r - luma) / (2 * (1 - red)))
        }
        var (luma, chroma) = (Data(), Data())
        for y in 0..<height {
            for x in 0..<width {
                let level = samples(x, y).luma
                luma.append(byte(isFull ? level : 16 + level * 219 / 255))
                guard x % 2 == 0 && y % 2 == 0 else { continue }
                let four = [samples(x, y), samples(x + 1, y), samples(x, y + 1), samples(x + 1, y + 1)]
                for sum in [four.reduce(0) { $0 + $1.cb }, four.reduce(0) { $0 + $1.cr }] {
                    chroma.append(byte(sum / 4 * (isFull ? 1 : 224.0 / 255) + 128))
                }
            }
            let rest = [UInt8](repeating: 0xAB, count: padding)
            if y < height - 1 { luma.append(contentsOf: rest) }
            if y % 2 == 0 && y < height - 2 { chroma.append(contentsOf: rest) }
        }
        return .nv12(
            luma: Frame.Plane(bytes: luma, rowStride: width + padding),
            chroma: Frame.Plane(bytes: chroma, rowStride: 2 * ((width + 1) / 2) + padding), yuv)
    }

    /// The picture as an uncompressed PNG file.
    var png: Data {
        var rows = Data()
        for y in 0..<height {
            rows.append(0)
            rows.append(contentsOf: rgb[3 * width * y..<3 * width * (y + 1)])
        }
        var packed = Data([0x78, 0x01])
        for start in stride(from: 0, to: rows.count, by: 65_535) {
            let block = rows[start..<min(start + 65_535, rows.count)]
            let length = UInt16(block.count)
            packed.append(start + block.count == rows.count ? 1 : 0)
            for number in [length, ~length] { packed.append(contentsOf: [UInt8(number & 255), UInt8(number >> 8)]) }
            packed.append(block)
        }
        var (low, high): (UInt32, UInt32) = (1, 0)
        for byte in rows {
            low = (low + UInt32(byte)) % 65_521
            high = (high + low) % 65_521
        }
        packed.append(contentsOf: bytes(high << 16 | low))
        let header = bytes(UInt32(width)) + bytes(UInt32(height)) + [8, 2, 0, 0, 0]
        return Data([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A])
            + chunk("IHDR", Data(header)) + chunk("IDAT", packed) + chunk("IEND", Data())
    }

    private func chunk(_ name: String, _ content: Data) -> Data {
        let named = Data(name.utf8) + content
        var sum = ~UInt32(0)
        for byte in named {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum >> 1 ^ (sum & 1 == 1 ? 0xEDB8_8320 : 0) }
        }
        return Data(bytes(UInt32(content.count))) + named + Data(bytes(~sum))
    }

    private func bytes(_ number: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(number >> $0 & 255) }
    }
}
