package main

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	pb "istio.io/api/security/v1alpha1"
)

// retried are the codes on which the agent's interceptor tries again; on any other it gives up at once.
var retried = map[codes.Code]bool{
	codes.Canceled: true, codes.DeadlineExceeded: true, codes.ResourceExhausted: true,
	codes.Aborted: true, codes.Internal: true, codes.Unavailable: true,
}

// waits go before the second to the fifth attempt. The agent spreads each by 10 %; here they are exact.
var waits = []time.Duration{
	100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond,
}

// retrying calls until an answer, a final error, five attempts or the end of ctx. It gives the code of each attempt.
func retrying(
	ctx context.Context, call func() (*pb.IstioCertificateResponse, error),
) (*pb.IstioCertificateResponse, []string, error) {
	var seen []string
	for {
		answer, err := call()
		code := status.Code(err)
		seen = append(seen, code.String())
		if !retried[code] || len(seen) > len(waits) || !pause(ctx, waits[len(seen)-1]) {
			return answer, seen, err
		}
	}
}

// pause waits, and tells whether ctx is still alive afterwards.
func pause(ctx context.Context, wait time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return ctx.Err() == nil
	}
}
