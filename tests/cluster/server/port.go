package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// reservePort picks a free port on 127.0.0.1 and keeps others from being given it until release is called.
// The socket is bound but does not listen; with SO_REUSEPORT on both sides the server can still bind the same port.
func reservePort() (port int, release func(), err error) {
	descriptor, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, err
	}
	release = func() { _ = unix.Close(descriptor) }
	port, err = bindAnyPort(descriptor)
	if err != nil {
		release()
		return 0, nil, fmt.Errorf("no free port: %w", err)
	}
	return port, release, nil
}

func bindAnyPort(descriptor int) (int, error) {
	if err := unix.SetsockoptInt(descriptor, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return 0, err
	}
	if err := unix.Bind(descriptor, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, err
	}
	bound, err := unix.Getsockname(descriptor)
	if err != nil {
		return 0, err
	}
	return bound.(*unix.SockaddrInet4).Port, nil
}
