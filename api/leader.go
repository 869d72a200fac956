package api

// LeaderTransfer is the wish that another peer leads the cluster.
type LeaderTransfer struct {
	Peer string `json:"peer,omitempty" doc:"Name or id of the voter that is to lead; without one, the voter that is furthest ahead" maxLength:"253"`
}

// Leadership is who leads after it was handed over.
type Leadership struct {
	Leader string `json:"leader" doc:"Name of the peer that leads"`
	Was    string `json:"was" doc:"Name of the peer that led before; empty where none was in sight"`
	Term   uint64 `json:"term" doc:"Raft's term, which grows with each leader"`
}
