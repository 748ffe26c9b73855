//! What a wrapper of a socket hands on to it as it is: the methods of `AsyncWrite`, and of hyper's `Write`, which has the
//! same ones.

/// All of them.
macro_rules! forward_writes {
    ($socket:ident) => {
        fn poll_write(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            bytes: &[u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            std::pin::Pin::new(&mut self.$socket).poll_write(cx, bytes)
        }

        fn poll_write_vectored(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            slices: &[std::io::IoSlice<'_>],
        ) -> std::task::Poll<std::io::Result<usize>> {
            std::pin::Pin::new(&mut self.$socket).poll_write_vectored(cx, slices)
        }

        $crate::http::forward::forward_flushes!($socket);
    };
}

/// All but the writes themselves.
macro_rules! forward_flushes {
    ($socket:ident) => {
        fn is_write_vectored(&self) -> bool {
            self.$socket.is_write_vectored()
        }

        fn poll_flush(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::pin::Pin::new(&mut self.$socket).poll_flush(cx)
        }

        fn poll_shutdown(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::pin::Pin::new(&mut self.$socket).poll_shutdown(cx)
        }
    };
}

pub(super) use {forward_flushes, forward_writes};
