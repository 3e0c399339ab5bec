@preconcurrency import AVFoundation
import Magpie
import SwiftUI

/// Frames from the back camera. Only the newest waits: a search that takes long does not make a queue.
final class Camera: NSObject, AVCaptureVideoDataOutputSampleBufferDelegate, @unchecked Sendable {
    let session = AVCaptureSession()

    // Session and listener are touched on this queue only.
    private let queue = DispatchQueue(label: "camera")
    private var listener: AsyncStream<Frame>.Continuation?

    func start() async throws {
        guard await AVCaptureDevice.requestAccess(for: .video),
            let device = AVCaptureDevice.default(.builtInWideAngleCamera, for: .video, position: .back)
        else { throw CocoaError(.featureUnsupported) }
        let input = try AVCaptureDeviceInput(device: device)
        queue.async { [self] in
            let output = AVCaptureVideoDataOutput()
            // NV12 is what the camera makes; nothing converts it on the way.
            output.videoSettings = [
                kCVPixelBufferPixelFormatTypeKey as String: kCVPixelFormatType_420YpCbCr8BiPlanarFullRange
            ]
            output.setSampleBufferDelegate(self, queue: queue)
            session.beginConfiguration()
            session.sessionPreset = .photo
            if session.canAddInput(input) { session.addInput(input) }
            if session.canAddOutput(output) { session.addOutput(output) }
            session.commitConfiguration()
            session.startRunning()
        }
    }

    /// Frames from now on. Whoever listened before hears the end.
    func frames() -> AsyncStream<Frame> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            queue.async { [self] in
                listener?.finish()
                listener = continuation
            }
        }
    }

    func captureOutput(_: AVCaptureOutput, didOutput sample: CMSampleBuffer, from _: AVCaptureConnection) {
        // The sensor lies on its side in a phone that is held upright.
        guard let frame = try? Frame(sample, rotation: .quarter) else { return }
        listener?.yield(frame)
    }
}

/// What the camera sees.
struct CameraPreview: UIViewRepresentable {
    let camera: Camera

    func makeUIView(context: Context) -> PreviewView {
        let view = PreviewView()
        view.preview?.session = camera.session
        view.preview?.videoGravity = .resizeAspectFill
        return view
    }

    func updateUIView(_: PreviewView, context: Context) {}

    final class PreviewView: UIView {
        override static var layerClass: AnyClass { AVCaptureVideoPreviewLayer.self }
        var preview: AVCaptureVideoPreviewLayer? { layer as? AVCaptureVideoPreviewLayer }
    }
}
