package server

// bootRoutes are what a node asks for while it boots.
var bootRoutes = []facade{}
