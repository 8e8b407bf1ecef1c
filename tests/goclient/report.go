package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tickMillis is one clock tick of /proc/PID/stat: Linux fixes USER_HZ at 100 wherever Go runs.
const tickMillis = 10

type call struct {
	took time.Duration
	err  error
}

// report is what the load verb prints. Latencies are of the calls that succeeded: quick refusals must not flatter.
type report struct {
	N              int            `json:"n"`
	OK             int            `json:"ok"`
	Failed         int            `json:"failed"`
	Seconds        float64        `json:"seconds"`
	RPS            float64        `json:"rps"`
	P50            float64        `json:"p50_ms"`
	P99            float64        `json:"p99_ms"`
	Max            float64        `json:"max_ms"`
	Errors         map[string]int `json:"errors"`
	FirstError     string         `json:"first_error"`
	WarmupErrors   int            `json:"warmup_errors"`
	DistinctCSRs   int            `json:"distinct_csrs"`
	CPUPerCall     *float64       `json:"cpu_ms_per_call"`
	TLS            *handshake     `json:"tls"`
	HandshakeError string         `json:"handshake_error"`
}

func summarize(calls []call, seconds float64) *report {
	r := &report{N: len(calls), Seconds: seconds, Errors: map[string]int{}}
	var good []time.Duration
	for _, c := range calls {
		if c.err == nil {
			good = append(good, c.took)
			continue
		}
		r.Errors[codeOf(c.err)]++
		r.FirstError = cmp.Or(r.FirstError, c.err.Error())
	}
	slices.Sort(good)
	r.OK, r.Failed = len(good), len(calls)-len(good)
	r.RPS = float64(r.OK) / seconds
	r.P50, r.P99, r.Max = quantile(good, 0.5), quantile(good, 0.99), quantile(good, 1)
	return r
}

// quantile gives milliseconds; 0 when nothing succeeded.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[int(q*float64(len(sorted)-1))]) / float64(time.Millisecond)
}

// charge spreads the CPU time over all calls, also the failed ones, for they cost too. No process, no number.
func (r *report) charge(pids string, ticks int) {
	if pids == "" {
		return
	}
	perCall := float64(ticks) * tickMillis / float64(r.N)
	r.CPUPerCall = &perCall
}

// cpuTicks sums user and system time over the processes.
func cpuTicks(pids string) (int, error) {
	sum := 0
	for pid := range strings.SplitSeq(pids, ",") {
		if pid == "" {
			continue
		}
		ticks, err := processTicks(pid)
		if err != nil {
			return 0, fmt.Errorf("-pid %s: %w", pid, err)
		}
		sum += ticks
	}
	return sum, nil
}

func processTicks(pid string) (int, error) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	// The command name stands in parentheses and may hold blanks: fields are counted after it, from the third.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return user + system, err
}
