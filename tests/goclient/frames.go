package main

import (
	"net"

	"golang.org/x/net/http2"
)

const frameHeader = 9

// frames cuts a byte stream into HTTP/2 frames, however reads and writes have split it.
type frames struct {
	skip int
	rest []byte
	seen func(kind http2.FrameType, flags http2.Flags, payload []byte)
}

func (f *frames) feed(data []byte) {
	skipped := min(f.skip, len(data))
	f.skip -= skipped
	f.rest = append(f.rest, data[skipped:]...)
	for len(f.rest) >= frameHeader {
		end := frameHeader + int(f.rest[0])<<16 + int(f.rest[1])<<8 + int(f.rest[2])
		if len(f.rest) < end {
			return
		}
		f.seen(http2.FrameType(f.rest[3]), http2.Flags(f.rest[4]), f.rest[frameHeader:end])
		f.rest = f.rest[end:]
	}
}

// watchedConn sits above TLS, where the frames are plain. grpc-go reads and writes from one goroutine each.
type watchedConn struct {
	net.Conn
	wire    *wire
	in, out frames
}

func watch(conn net.Conn, w *wire) net.Conn {
	return &watchedConn{
		Conn: conn, wire: w,
		in:  frames{seen: w.received},
		out: frames{seen: w.sent, skip: len(http2.ClientPreface)},
	}
}

func (c *watchedConn) Read(data []byte) (int, error) {
	n, err := c.Conn.Read(data)
	c.in.feed(data[:n])
	if err != nil {
		c.wire.closed(err)
	}
	return n, err
}

func (c *watchedConn) Write(data []byte) (int, error) {
	n, err := c.Conn.Write(data)
	c.out.feed(data[:n])
	return n, err
}
