package dev.magpie.android

import android.graphics.Bitmap
import android.graphics.ImageFormat
import android.media.Image
import android.media.ImageReader
import android.os.Handler
import dev.magpie.Frame
import dev.magpie.Pixels
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import java.nio.ByteBuffer

/**
 * A camera's picture as a frame, without a copy: it is borrowed until [Image.close]. CameraX's `ImageProxy.getImage`
 * gives such a picture too, and its `imageInfo` the rotation.
 *
 * @param rotation the clockwise turn that makes it upright: 0, 90, 180 or 270 degrees
 * @param mirrored whether it is then mirrored, as a front camera's picture is shown
 * @throws IllegalArgumentException where its format is not [ImageFormat.YUV_420_888]
 */
public fun Image.toFrame(rotation: Int, mirrored: Boolean = false): Frame {
    require(format == ImageFormat.YUV_420_888) { "the picture's format is $format, not YUV_420_888" }
    val (y, u, v) = planes
    // Android promises that the luma samples lie side by side, and that both chroma planes have the same strides.
    val pixels = Pixels.yuv420(y.buffer, u.buffer, v.buffer, y.rowStride, u.rowStride, u.pixelStride)
    return Frame(pixels, width, height, rotation, mirrored)
}

/**
 * The pictures of a reader as frames, always the newest: those that come while one is worked on are dropped.
 *
 * A frame is given back to the camera when the collector is done with it. So nothing may keep it longer: no `buffer`,
 * `conflate` or `flowOn` between this flow and what searches.
 *
 * @param handler where the camera says that there is a picture
 * @param rotation asked for each picture: the clockwise turn that makes it upright
 */
public fun ImageReader.frames(handler: Handler, rotation: () -> Int): Flow<Frame> = flow {
    val arrived = Channel<Unit>(Channel.CONFLATED)
    setOnImageAvailableListener({ arrived.trySend(Unit) }, handler)
    try {
        while (true) {
            arrived.receive()
            acquireLatestImage()?.use { emit(it.toFrame(rotation())) }
        }
    } finally {
        setOnImageAvailableListener(null, null)
    }
}

/** A bitmap's pixels as a frame. Copies them: a bitmap's memory cannot be borrowed. */
public fun Bitmap.toFrame(): Frame {
    val readable = if (config == Bitmap.Config.ARGB_8888) this else copy(Bitmap.Config.ARGB_8888, false)
    val bytes = ByteBuffer.allocateDirect(readable.rowBytes * readable.height)
    // Red comes first in memory, whatever the configuration's name says.
    readable.copyPixelsToBuffer(bytes)
    bytes.rewind()
    return Frame(Pixels.rgba(bytes, readable.rowBytes), readable.width, readable.height)
}
