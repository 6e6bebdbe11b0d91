// Prints what pjrt.h and the original header say of every struct and function that the cache uses, one a line: name,
// ours, theirs. layout_test.go compiles it against the header in go-xla's module.
#include <stdio.h>

#include "pjrt.h"
#include "pjrt_c_api.h"

#define LINE(what, ours, theirs) printf("%s %zu %zu\n", what, (size_t)(ours), (size_t)(theirs))
#define SIZE(ours, theirs) LINE(#theirs, sizeof(ours), theirs##_STRUCT_SIZE)
#define FIELD(ours, of, theirs, their) LINE(#theirs "." #their, offsetof(ours, of), offsetof(theirs, their))
// Every args struct begins with its size and its extensions.
#define ARGS(ours, theirs)                       \
  SIZE(ours, theirs);                            \
  FIELD(ours, size, theirs, struct_size);        \
  FIELD(ours, extensions, theirs, extension_start)
#define FUNCTION(index, name) \
  LINE(#name, offsetof(advlab_table, functions) + (index) * sizeof(advlab_function), offsetof(PJRT_Api, name))

int main(void) {
  FIELD(advlab_table, size, PJRT_Api, struct_size);
  FIELD(advlab_table, extensions, PJRT_Api, extension_start);
  FIELD(advlab_table, version, PJRT_Api, pjrt_api_version);
  FIELD(advlab_version, major, PJRT_Api_Version, major_version);
  FIELD(advlab_version, minor, PJRT_Api_Version, minor_version);
  LINE("sizeof PJRT_Api_Version", sizeof(advlab_version), sizeof(PJRT_Api_Version));
  LINE("major version", 0, PJRT_API_MAJOR);

  FUNCTION(ADVLAB_ERROR_DESTROY, PJRT_Error_Destroy);
  FUNCTION(ADVLAB_ERROR_MESSAGE, PJRT_Error_Message);
  FUNCTION(ADVLAB_CLIENT_CREATE, PJRT_Client_Create);
  FUNCTION(ADVLAB_CLIENT_PLATFORM_NAME, PJRT_Client_PlatformName);
  FUNCTION(ADVLAB_CLIENT_PLATFORM_VERSION, PJRT_Client_PlatformVersion);
  FUNCTION(ADVLAB_CLIENT_ADDRESSABLE_DEVICES, PJRT_Client_AddressableDevices);
  FUNCTION(ADVLAB_CLIENT_COMPILE, PJRT_Client_Compile);
  FUNCTION(ADVLAB_DESCRIPTION_KIND, PJRT_DeviceDescription_Kind);
  FUNCTION(ADVLAB_DEVICE_DESCRIPTION, PJRT_Device_GetDescription);
  FUNCTION(ADVLAB_EXECUTABLE_DESTROY, PJRT_Executable_Destroy);
  FUNCTION(ADVLAB_EXECUTABLE_SERIALIZE, PJRT_Executable_Serialize);
  FUNCTION(ADVLAB_LOADED_EXECUTABLE, PJRT_LoadedExecutable_GetExecutable);
  FUNCTION(ADVLAB_DESERIALIZE_AND_LOAD, PJRT_Executable_DeserializeAndLoad);

  ARGS(advlab_error_destroy_args, PJRT_Error_Destroy_Args);
  FIELD(advlab_error_destroy_args, error, PJRT_Error_Destroy_Args, error);

  ARGS(advlab_error_message_args, PJRT_Error_Message_Args);
  FIELD(advlab_error_message_args, error, PJRT_Error_Message_Args, error);
  FIELD(advlab_error_message_args, message, PJRT_Error_Message_Args, message);
  FIELD(advlab_error_message_args, message_size, PJRT_Error_Message_Args, message_size);

  ARGS(advlab_client_text_args, PJRT_Client_PlatformName_Args);
  FIELD(advlab_client_text_args, client, PJRT_Client_PlatformName_Args, client);
  FIELD(advlab_client_text_args, text, PJRT_Client_PlatformName_Args, platform_name);
  FIELD(advlab_client_text_args, text_size, PJRT_Client_PlatformName_Args, platform_name_size);

  ARGS(advlab_client_text_args, PJRT_Client_PlatformVersion_Args);
  FIELD(advlab_client_text_args, client, PJRT_Client_PlatformVersion_Args, client);
  FIELD(advlab_client_text_args, text, PJRT_Client_PlatformVersion_Args, platform_version);
  FIELD(advlab_client_text_args, text_size, PJRT_Client_PlatformVersion_Args, platform_version_size);

  ARGS(advlab_devices_args, PJRT_Client_AddressableDevices_Args);
  FIELD(advlab_devices_args, client, PJRT_Client_AddressableDevices_Args, client);
  FIELD(advlab_devices_args, devices, PJRT_Client_AddressableDevices_Args, addressable_devices);
  FIELD(advlab_devices_args, count, PJRT_Client_AddressableDevices_Args, num_addressable_devices);

  ARGS(advlab_description_args, PJRT_Device_GetDescription_Args);
  FIELD(advlab_description_args, device, PJRT_Device_GetDescription_Args, device);
  FIELD(advlab_description_args, description, PJRT_Device_GetDescription_Args, device_description);

  ARGS(advlab_kind_args, PJRT_DeviceDescription_Kind_Args);
  FIELD(advlab_kind_args, description, PJRT_DeviceDescription_Kind_Args, device_description);
  FIELD(advlab_kind_args, kind, PJRT_DeviceDescription_Kind_Args, device_kind);
  FIELD(advlab_kind_args, kind_size, PJRT_DeviceDescription_Kind_Args, device_kind_size);

  ARGS(advlab_program, PJRT_Program);
  FIELD(advlab_program, code, PJRT_Program, code);
  FIELD(advlab_program, code_size, PJRT_Program, code_size);
  FIELD(advlab_program, format, PJRT_Program, format);
  FIELD(advlab_program, format_size, PJRT_Program, format_size);

  ARGS(advlab_compile_args, PJRT_Client_Compile_Args);
  FIELD(advlab_compile_args, client, PJRT_Client_Compile_Args, client);
  FIELD(advlab_compile_args, program, PJRT_Client_Compile_Args, program);
  FIELD(advlab_compile_args, options, PJRT_Client_Compile_Args, compile_options);
  FIELD(advlab_compile_args, options_size, PJRT_Client_Compile_Args, compile_options_size);
  FIELD(advlab_compile_args, loaded, PJRT_Client_Compile_Args, executable);

  ARGS(advlab_executable_args, PJRT_LoadedExecutable_GetExecutable_Args);
  FIELD(advlab_executable_args, loaded, PJRT_LoadedExecutable_GetExecutable_Args, loaded_executable);
  FIELD(advlab_executable_args, executable, PJRT_LoadedExecutable_GetExecutable_Args, executable);

  ARGS(advlab_executable_destroy_args, PJRT_Executable_Destroy_Args);
  FIELD(advlab_executable_destroy_args, executable, PJRT_Executable_Destroy_Args, executable);

  ARGS(advlab_serialize_args, PJRT_Executable_Serialize_Args);
  FIELD(advlab_serialize_args, executable, PJRT_Executable_Serialize_Args, executable);
  FIELD(advlab_serialize_args, bytes, PJRT_Executable_Serialize_Args, serialized_bytes);
  FIELD(advlab_serialize_args, bytes_size, PJRT_Executable_Serialize_Args, serialized_bytes_size);
  FIELD(advlab_serialize_args, backing, PJRT_Executable_Serialize_Args, serialized_executable);
  FIELD(advlab_serialize_args, free, PJRT_Executable_Serialize_Args, serialized_executable_deleter);

  ARGS(advlab_load_args, PJRT_Executable_DeserializeAndLoad_Args);
  FIELD(advlab_load_args, client, PJRT_Executable_DeserializeAndLoad_Args, client);
  FIELD(advlab_load_args, bytes, PJRT_Executable_DeserializeAndLoad_Args, serialized_executable);
  FIELD(advlab_load_args, bytes_size, PJRT_Executable_DeserializeAndLoad_Args, serialized_executable_size);
  FIELD(advlab_load_args, loaded, PJRT_Executable_DeserializeAndLoad_Args, loaded_executable);
  FIELD(advlab_load_args, options, PJRT_Executable_DeserializeAndLoad_Args, overridden_serialized_compile_options);
  FIELD(advlab_load_args, options_size, PJRT_Executable_DeserializeAndLoad_Args, overridden_serialized_compile_options_size);
  return 0;
}
