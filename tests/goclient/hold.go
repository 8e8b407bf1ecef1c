package main

import (
	"context"
	"time"

	"google.golang.org/grpc"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// holdOutcome tells how a connection fared that was kept open.
type holdOutcome struct {
	Seconds      float64  `json:"seconds"`
	Pings        int      `json:"pings"`
	PingAcks     int      `json:"ping_acks"`
	GoAways      []goAway `json:"goaways"`
	EnhanceCalm  bool     `json:"enhance_your_calm"`
	Disconnected bool     `json:"disconnected"`
	Reason       string   `json:"reason"`
	StreamCode   string   `json:"stream_code"`
	StreamText   string   `json:"stream_text"`
}

// hold keeps the connection until the time is up or it breaks. Real clients ping only while a stream is open: the
// stream is a health watch, which any gRPC server of this kind offers.
func hold(conn *grpc.ClientConn, seen *wire, over string, length time.Duration) *holdOutcome {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	start := time.Now()
	result := &holdOutcome{}
	ended := make(chan error, 1)
	if over == "watch" {
		go func() { ended <- watchHealth(ctx, conn) }()
	}
	select {
	case <-time.After(length):
	case <-broken(seen, over):
	case err := <-ended:
		last := status.Convert(err)
		result.StreamCode, result.StreamText = last.Code().String(), last.Message()
	}
	result.Seconds = time.Since(start).Seconds()
	seen.reportHold(result)
	return result
}

// broken ends when the connection does. With a stream there is no need: its own end follows, and says more.
func broken(seen *wire, over string) <-chan struct{} {
	if over == "watch" {
		return nil
	}
	return seen.dropped
}

// watchHealth reads a health stream until it ends.
func watchHealth(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := health.NewHealthClient(conn).Watch(ctx, &health.HealthCheckRequest{})
	for err == nil {
		_, err = stream.Recv()
	}
	return err
}

func (w *wire) reportHold(result *holdOutcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	result.Pings, result.PingAcks = w.pings, w.acks
	result.GoAways = append([]goAway{}, w.goAways...)
	result.Disconnected, result.Reason = w.drop != "", w.drop
	for _, seen := range w.goAways {
		result.EnhanceCalm = result.EnhanceCalm || seen.Code == "ENHANCE_YOUR_CALM"
	}
}
