@preconcurrency import AVFoundation
import Magpie
import SwiftUI

/// Frames from the back camera. Only the newest frame is buffered, so slow searches do not build up a queue.
final class Camera: NSObject, AVCaptureVideoDataOutputSampleBufferDelegate, @unchecked Sendable {
    let session = AVCaptureSession()

    // The session and the listener are accessed on this queue only.
    private let queue = DispatchQueue(label: "camera")
    private var listener: AsyncStream<Frame>.Continuation?

    func start() async throws {
        guard await AVCaptureDevice.requestAccess(for: .video),
            let device = AVCaptureDevice.default(.builtInWideAngleCamera, for: .video, position: .back)
        else { throw CocoaError(.featureUnsupported) }
        let input = try AVCaptureDeviceInput(device: device)
        queue.async { [self] in
            let output = AVCaptureVideoDataOutput()
            // The camera's native format, so that nothing converts it.
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

    /// Returns the frames from now on. The stream of the previous listener ends.
    func frames() -> AsyncStream<Frame> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            queue.async { [self] in
                listener?.finish()
                listener = continuation
            }
        }
    }

    func captureOutput(_: AVCaptureOutput, didOutput sample: CMSampleBuffer, from _: AVCaptureConnection) {
        // The sensor is in landscape when the phone is held in portrait.
        guard let frame = try? Frame(sample, rotation: .quarter) else { return }
        listener?.yield(frame)
    }
}

/// The camera's preview.
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
