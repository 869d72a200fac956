package lab

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// startBound starts a process that ends with this one, for a lab without namespaces.
// The kernel binds it to the thread that started it, so one thread starts them all
// and never ends.
func startBound(cmd *exec.Cmd) error {
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	done := make(chan error)
	starter() <- func() { done <- cmd.Start() }
	return <-done
}

var starter = sync.OnceValue(func() chan<- func() {
	todo := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range todo {
			f()
		}
	}()
	return todo
})
