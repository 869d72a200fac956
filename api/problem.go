package api

// Problem is how an error looks on the wire (RFC 9457, application/problem+json).
type Problem struct {
	Type      string       `json:"type" doc:"Where the code is explained, relative to the peer's address"`
	Title     string       `json:"title" doc:"The HTTP status in words"`
	Status    int          `json:"status" doc:"The HTTP status"`
	Detail    string       `json:"detail" doc:"What happened, why, and what to do next"`
	Code      string       `json:"code" doc:"A stable word for programs to go by"`
	Errors    []FieldError `json:"errors,omitempty" doc:"Which fields are wrong; /query/NAME, /header/NAME for parameters"`
	Hosts     []HostPart   `json:"hosts,omitempty" doc:"no-capacity: why not, host by host"`
	RequestID string       `json:"request_id" doc:"Find it in the peer's log"`
}

// Err is the failure that the problem tells of.
func (p Problem) Err() *Error {
	return &Error{Kind: KindOf(p.Code), Msg: p.Detail, Fields: p.Errors, Hosts: p.Hosts}
}
