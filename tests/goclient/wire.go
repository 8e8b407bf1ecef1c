package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/credentials"
)

// wire is what was seen below gRPC: the handshake, and those HTTP/2 frames that keepalive is about. grpc-go does not
// tell its caller about a GOAWAY on a connection without a stream, so the frames themselves are read.
type wire struct {
	watchFrames bool

	mu             sync.Mutex
	handshake      *handshake
	handshakeError string
	pings, acks    int
	goAways        []goAway
	drop           string
	dropped        chan struct{}
}

type handshake struct {
	Version string `json:"version"`
	Cipher  string `json:"cipher"`
	Curve   string `json:"curve"`
	ALPN    string `json:"alpn"`
}

type goAway struct {
	Code  string `json:"code"`
	Debug string `json:"debug"`
}

func newWire(watchFrames bool) *wire {
	return &wire{watchFrames: watchFrames, dropped: make(chan struct{})}
}

func (w *wire) opened(state tls.ConnectionState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handshakeError = ""
	w.handshake = &handshake{
		tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite),
		state.CurveID.String(), state.NegotiatedProtocol,
	}
}

func (w *wire) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handshakeError = err.Error()
}

// last gives the last handshake that succeeded, and the error of the last one if that failed.
func (w *wire) last() (*handshake, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.handshake, w.handshakeError
}

func (w *wire) closed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.drop == "" {
		w.drop = err.Error()
		close(w.dropped)
	}
}

func (w *wire) sent(kind http2.FrameType, flags http2.Flags, _ []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if kind == http2.FramePing && !flags.Has(http2.FlagPingAck) {
		w.pings++
	}
}

func (w *wire) received(kind http2.FrameType, flags http2.Flags, payload []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case kind == http2.FramePing && flags.Has(http2.FlagPingAck):
		w.acks++
	case kind == http2.FrameGoAway && len(payload) >= 8:
		code := http2.ErrCode(binary.BigEndian.Uint32(payload[4:8]))
		w.goAways = append(w.goAways, goAway{code.String(), string(payload[8:])})
	}
}

// watchedCreds are transport credentials that tell wire about each handshake.
type watchedCreds struct {
	credentials.TransportCredentials
	wire *wire
}

func (c watchedCreds) ClientHandshake(
	ctx context.Context, authority string, raw net.Conn,
) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		c.wire.failed(err)
		return nil, nil, err
	}
	if seen, ok := info.(credentials.TLSInfo); ok {
		c.wire.opened(seen.State)
	}
	if c.wire.watchFrames {
		conn = watch(conn, c.wire)
	}
	return conn, info, nil
}

func (c watchedCreds) Clone() credentials.TransportCredentials {
	return watchedCreds{c.TransportCredentials.Clone(), c.wire}
}
