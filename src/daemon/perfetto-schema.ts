/**
 * The parts of Perfetto's trace format that hypervisor events need, with its field numbers
 * (protos/perfetto/trace/trace.proto, ftrace/ftrace_event.proto, ftrace/hypervisor.proto). Events that
 * Perfetto has no message for are GenericFtraceEvents, as its own recorder makes of them.
 */
export const PERFETTO_PROTO = `
syntax = "proto2";

message Trace {
  repeated TracePacket packet = 1;
}

message TracePacket {
  optional FtraceEventBundle ftrace_events = 1;
  optional uint32 trusted_packet_sequence_id = 10;
}

message FtraceEventBundle {
  optional uint32 cpu = 1;
  repeated FtraceEvent event = 2;
  optional bool lost_events = 3;
}

message FtraceEvent {
  optional uint64 timestamp = 1;
  optional uint32 pid = 2;
  oneof event {
    GenericFtraceEvent generic = 327;
    HostHcall host_hcall = 582;
    HostSmc host_smc = 583;
    HypExit hyp_exit = 584;
    IommuIdmap iommu_idmap = 585;
    PsciMemProtect psci_mem_protect = 586;
    HostMemAbort host_mem_abort = 587;
    HypEnter hyp_enter = 588;
    IommuIdmapComplete iommu_idmap_complete = 589;
    VcpuIllegalTrap vcpu_illegal_trap = 590;
  }
}

message GenericFtraceEvent {
  message Field {
    optional string name = 1;
    oneof value {
      string str_value = 3;
      int64 int_value = 4;
      uint64 uint_value = 5;
    }
  }
  optional string event_name = 1;
  repeated Field field = 2;
}

message HostHcall {
  optional uint32 id = 1;
  optional uint32 invalid = 2;
}

message HostSmc {
  optional uint64 id = 1;
  optional uint32 forwarded = 2;
}

message HypEnter {}

message HypExit {}

message IommuIdmap {
  optional uint64 from = 1;
  optional uint64 to = 2;
  optional int32 prot = 3;
}

message PsciMemProtect {
  optional uint64 count = 1;
  optional uint64 was = 2;
}

message HostMemAbort {
  optional uint64 esr = 1;
  optional uint64 addr = 2;
}

message IommuIdmapComplete {
  optional uint32 map = 1;
}

message VcpuIllegalTrap {
  optional uint64 esr = 1;
}
`;
