package run

import (
	"container/heap"
	"sync"
	"time"
)

// queue holds what is marked and waits for a worker, the longest due first.
type queue struct {
	mu     sync.Mutex
	some   sync.Cond
	jobs   jobs
	seq    int
	closed bool
}

type job struct {
	due time.Time
	seq int
	do  func()
}

func newQueue() *queue {
	q := &queue{}
	q.some.L = &q.mu
	return q
}

func (q *queue) add(due time.Time, do func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.seq++
	heap.Push(&q.jobs, job{due, q.seq, do})
	q.some.Signal()
}

// work does one job after the other until the queue is closed and empty.
func (q *queue) work() {
	for {
		q.mu.Lock()
		for len(q.jobs) == 0 && !q.closed {
			q.some.Wait()
		}
		if len(q.jobs) == 0 {
			q.mu.Unlock()
			return
		}
		j := heap.Pop(&q.jobs).(job)
		q.mu.Unlock()
		j.do()
	}
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.some.Broadcast()
}

type jobs []job

func (j jobs) Len() int { return len(j) }
func (j jobs) Less(a, b int) bool {
	return j[a].due.Before(j[b].due) || j[a].due.Equal(j[b].due) && j[a].seq < j[b].seq
}
func (j jobs) Swap(a, b int) { j[a], j[b] = j[b], j[a] }
func (j *jobs) Push(v any)   { *j = append(*j, v.(job)) }
func (j *jobs) Pop() any {
	last := len(*j) - 1
	v := (*j)[last]
	(*j)[last] = job{}
	*j = (*j)[:last]
	return v
}
