//! What the protocol tests share.
